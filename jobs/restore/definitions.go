package restore

import (
	"context"
	"fmt"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// readiness says of some kinds what to wait for after an object was created.
var readiness = map[schema.GroupResource]func(context.Context, *operation, ref.Object) error{
	definitions: waitEstablished,
}

// newKinds are the kinds that restored definitions add to the cluster. The zero
// value is ready; it is safe for concurrent use.
type newKinds struct {
	mu    sync.Mutex
	kinds []schema.GroupVersionResource
}

func (n *newKinds) add(spec apiextensionsv1.CustomResourceDefinitionSpec) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, version := range spec.Versions {
		if version.Served {
			n.kinds = append(n.kinds, schema.GroupVersionResource{Group: spec.Group, Version: version.Name, Resource: spec.Names.Plural})
		}
	}
}

// waitEstablished waits until the API server serves the kind of a definition.
func waitEstablished(ctx context.Context, o *operation, place ref.Object) error {
	deadline := time.Now().Add(o.ResourceTimeout)
	for delay := 25 * time.Millisecond; ; delay = min(delay*2, time.Second) {
		raw, err := o.writer.Get(ctx, place)
		if err != nil {
			return fmt.Errorf("wait for its kind: %w", err)
		}
		spec, reason, err := established(raw)
		if err != nil {
			return err
		}
		if reason == "" {
			o.newKinds.add(spec)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it was created but its kind isn't served after %s: %s", o.ResourceTimeout, reason)
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// established reads a definition and says what it still lacks; empty when its
// kind is served under the names it asks for.
func established(raw []byte) (apiextensionsv1.CustomResourceDefinitionSpec, string, error) {
	obj, err := transform.Parse(raw)
	if err != nil {
		return apiextensionsv1.CustomResourceDefinitionSpec{}, "", err
	}
	var spec apiextensionsv1.CustomResourceDefinitionSpec
	var status apiextensionsv1.CustomResourceDefinitionStatus
	for field, into := range map[string]any{"spec": &spec, "status": &status} {
		if err := obj.Read(field, into); err != nil {
			return spec, "", err
		}
	}
	reasons := map[apiextensionsv1.CustomResourceDefinitionConditionType]string{
		apiextensionsv1.NamesAccepted: "its names are not accepted yet", apiextensionsv1.Established: "it is not established yet",
	}
	for _, condition := range status.Conditions {
		if condition.Status == apiextensionsv1.ConditionTrue {
			delete(reasons, condition.Type)
		} else if reasons[condition.Type] != "" {
			reasons[condition.Type] = condition.Message
		}
	}
	// Without its names it can't be established.
	for _, kind := range []apiextensionsv1.CustomResourceDefinitionConditionType{apiextensionsv1.NamesAccepted, apiextensionsv1.Established} {
		if reason := reasons[kind]; reason != "" {
			return spec, reason, nil
		}
	}
	return spec, "", nil
}

// refreshKinds asks the cluster for its kinds again until it has those that
// restored definitions added. Those that don't come are reported with their
// objects.
func (o *operation) refreshKinds(ctx context.Context) error {
	if len(o.newKinds.kinds) == 0 {
		return nil
	}
	deadline := time.Now().Add(o.ResourceTimeout)
	for delay := 100 * time.Millisecond; ; delay = min(delay*2, 2*time.Second) {
		served, err := cluster.Discover(o.Discovery)
		if err != nil {
			o.warn(fmt.Sprintf("new kinds may not be known: %v", err))
			return nil
		}
		o.served = served
		if o.allServed() || time.Now().After(deadline) {
			return nil
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

func (o *operation) allServed() bool {
	for _, gvr := range o.newKinds.kinds {
		if _, ok := find(o.served, gvr.GroupResource(), gvr.Version, true); !ok {
			return false
		}
	}
	return true
}

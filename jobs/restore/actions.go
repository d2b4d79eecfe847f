package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// actions are the changes that administrators and the Restore ask for, in
// Velero's order.
func (o *operation) actions(ctx context.Context) []transform.Action {
	classes := &storageClasses{operation: o, ctx: ctx, known: map[string]error{}}
	return []transform.Action{o.changeImages, classes.change, o.addInitHooks, o.modify}
}

// changeImages replaces parts of the names of images.
func (o *operation) changeImages(resource schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
	if !o.request.images.Applies(resource) {
		return transform.Decision{}, nil
	}
	spec, err := obj.Edit("spec")
	if err == nil && spec != nil {
		o.request.images.Apply(resource, spec)
	}
	return transform.Decision{}, err
}

// storageClasses changes storage classes to such as exist.
type storageClasses struct {
	*operation
	ctx context.Context // that of the restore, since an action has none

	mu    sync.Mutex
	known map[string]error
}

func (s *storageClasses) change(resource schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
	if !s.request.classes.Applies(resource) {
		return transform.Decision{}, nil
	}
	spec, err := obj.Edit("spec")
	if err != nil || spec == nil {
		return transform.Decision{}, err
	}
	_, classes := s.request.classes.Apply(resource, spec)
	for _, class := range classes {
		if err := s.exists(class); err != nil {
			return transform.Decision{}, err
		}
	}
	return transform.Decision{}, nil
}

// exists looks once for each class: those of the archive are there by now.
func (s *storageClasses) exists(class string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err, looked := s.known[class]; looked {
		return err
	}
	_, err := s.Kube.StorageV1().StorageClasses().Get(s.ctx, class, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("its storage class is changed to %q, which doesn't exist", class)
	}
	if err == nil || !cluster.MayPass(err) {
		s.known[class] = err
	}
	return err
}

// addInitHooks puts the init containers in front that hooks ask for.
func (o *operation) addInitHooks(resource schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
	if resource != transform.Pods {
		return transform.Decision{}, nil
	}
	spec, err := obj.Edit("spec")
	if err != nil || spec == nil {
		return transform.Decision{}, err
	}
	containers, texts := o.hooks.Init(o.podOf(obj, o.targetOf(obj.Namespace())))
	if len(containers) > 0 {
		existing, _ := spec["initContainers"].([]any)
		spec["initContainers"] = hooks.PlaceInit(existing, containers)
	}
	return transform.Decision{Warnings: asErrors(texts)}, nil
}

// modify applies the resource modifiers. One that fails is reported, and the
// object restored without it.
func (o *operation) modify(resource schema.GroupResource, obj *transform.Object) (transform.Decision, error) {
	subject := modifier.Subject{Resource: resource, Namespace: obj.Namespace(), Name: obj.Name(), Labels: obj.Labels()}
	if !o.request.modifiers.Concerns(subject) {
		return transform.Decision{}, nil
	}
	body, err := obj.JSON()
	if err != nil {
		return transform.Decision{}, err
	}
	changed, errs := o.request.modifiers.Apply(subject, body)
	if !bytes.Equal(changed, body) {
		if err := obj.Replace(changed); err != nil {
			errs = append(errs, fmt.Errorf("resource modifier: %w", err))
		}
	}
	return transform.Decision{Errors: errs}, nil
}

// volumeMoves reports whether a volume comes back as clone: its name is taken by one
// that this restore didn't make, or an earlier attempt made the clone. A volume that
// an earlier attempt made keeps its name, so that no disk gets two volumes.
func (o *operation) volumeMoves(ctx context.Context, name, clone string) (bool, error) {
	_, ours, err := o.liveVolume(ctx, clone)
	if err != nil || ours {
		return ours, err
	}
	there, ours, err := o.liveVolume(ctx, name)
	return there && !ours, err
}

// liveVolume reports whether the cluster has a persistent volume, and whether this
// restore made it.
func (o *operation) liveVolume(ctx context.Context, name string) (there, ours bool, err error) {
	raw, err := o.writer.Get(ctx, ref.Object{Resource: volumesV1, Name: name})
	if apierrors.IsNotFound(err) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("look for volume %q in the cluster: %w", name, err)
	}
	live, err := transform.Parse(raw)
	if err != nil {
		return false, false, fmt.Errorf("read volume %q of the cluster: %w", name, err)
	}
	return true, o.madeByUs(live), nil
}

func asErrors(texts []string) []error {
	var errs []error
	for _, text := range texts {
		errs = append(errs, errors.New(text))
	}
	return errs
}

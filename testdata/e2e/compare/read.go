package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// Read returns every object of the namespace, in the preferred version of its
// group, and the objects around it, those that exist.
func Read(ctx context.Context, client dynamic.Interface, disco discovery.DiscoveryInterface, namespace string, around []Key) (State, error) {
	lists, err := discovery.ServerPreferredResources(disco)
	if err != nil {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	state := State{}
	for _, resource := range listable(lists) {
		if resource.Namespaced {
			err = state.readNamespace(ctx, client, resource, namespace)
		} else {
			err = state.readAround(ctx, client, resource, around)
		}
		if err != nil {
			return nil, err
		}
	}
	return state, nil
}

type resource struct {
	schema.GroupVersionResource
	Namespaced bool
}

// listable keeps what can be listed and created, which leaves out reviews,
// metrics and the like.
func listable(lists []*metav1.APIResourceList) []resource {
	var found []resource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range list.APIResources {
			if slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "create") {
				found = append(found, resource{gv.WithResource(r.Name), r.Namespaced})
			}
		}
	}
	return found
}

func (s State) readNamespace(ctx context.Context, client dynamic.Interface, r resource, namespace string) error {
	list, err := client.Resource(r.GroupVersionResource).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s in namespace %q: %w", r.GroupResource(), namespace, err)
	}
	for i := range list.Items {
		s[Key{r.GroupResource().String(), list.Items[i].GetName()}] = &list.Items[i]
	}
	return nil
}

func (s State) readAround(ctx context.Context, client dynamic.Interface, r resource, around []Key) error {
	for _, key := range around {
		if key.Resource != r.GroupResource().String() {
			continue
		}
		object, err := client.Resource(r.GroupVersionResource).Get(ctx, key.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get %s: %w", key, err)
		}
		s[key] = object
	}
	return nil
}

// clusterResources names the resource of each kind that a fixture has in _cluster.
var clusterResources = map[string]string{
	"ClusterRole":                    "clusterroles.rbac.authorization.k8s.io",
	"ClusterRoleBinding":             "clusterrolebindings.rbac.authorization.k8s.io",
	"CustomResourceDefinition":       "customresourcedefinitions.apiextensions.k8s.io",
	"Namespace":                      "namespaces",
	"PersistentVolume":               "persistentvolumes",
	"PriorityClass":                  "priorityclasses.scheduling.k8s.io",
	"Region":                         "regions.shop.example.com",
	"StorageClass":                   "storageclasses.storage.k8s.io",
	"ValidatingWebhookConfiguration": "validatingwebhookconfigurations.admissionregistration.k8s.io",
}

// Load reads a state from files, RESOURCE.GROUP/NAME.json and _cluster/*.json.
func Load(files fs.FS) (State, error) {
	state := State{}
	err := fs.WalkDir(files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".json" {
			return err
		}
		return state.load(files, file)
	})
	if err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	if len(state) == 0 {
		return nil, errors.New("load state: no objects")
	}
	return state, nil
}

func (s State) load(files fs.FS, file string) error {
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return err
	}
	// The unmarshaller of unstructured objects reads numbers as the client does.
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(text, object); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	key := Key{Resource: path.Dir(file), Name: object.GetName()}
	if strings.HasPrefix(file, "_cluster/") {
		key.Resource = clusterResources[object.GetKind()]
	}
	if key.Resource == "" {
		return fmt.Errorf("%s: no resource known for kind %q", file, object.GetKind())
	}
	s[key] = object
	return nil
}

// Around returns the keys of the cluster-scoped objects of a state.
func (s State) Around() []Key {
	var keys []Key
	for key, object := range s {
		if object.GetNamespace() == "" {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

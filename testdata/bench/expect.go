package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// object names one object as the archive does.
type object struct{ resource, namespace, name string }

func (o object) String() string { return o.resource + " " + o.namespace + "/" + o.name }

// expectation is what every backup of a bed has to hold.
type expectation struct{ objects []object }

// expect lists the cluster by other means than the backup does.
func (b *bed) expect(ctx context.Context) (*expectation, error) {
	kinds, err := b.kube.Discovery().ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("discover kinds: %w", err)
	}
	client, err := metadata.NewForConfig(b.admin)
	if err != nil {
		return nil, err
	}
	e := &expectation{}
	verbs := discovery.SupportsAllVerbs{Verbs: []string{"list", "create", "get", "delete"}}
	for _, list := range discovery.FilteredBy(verbs, kinds) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, kind := range list.APIResources {
			if err := e.list(ctx, client, gv.WithResource(kind.Name)); err != nil {
				return nil, fmt.Errorf("list %s: %w", kind.Name, err)
			}
		}
	}
	return e, e.check(b.set)
}

func (e *expectation) list(ctx context.Context, client metadata.Interface, gvr schema.GroupVersionResource) error {
	if passing(gvr.Resource) {
		return nil
	}
	for options := (metav1.ListOptions{Limit: floorPage}); ; {
		page, err := client.Resource(gvr).List(ctx, options)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			if !ours(item) {
				e.objects = append(e.objects, object{gvr.GroupResource().String(), item.Namespace, item.Name})
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// passing are kinds whose objects come and go by themselves.
func passing(resource string) bool { return slices.Contains([]string{"events", "leases"}, resource) }

// ours is what belongs to the installation: some of it is left out of backups,
// some changes with each.
func ours(item metav1.PartialObjectMetadata) bool {
	return item.Namespace == velerov1.DefaultNamespace || item.Labels["component"] == "velero"
}

// check makes sure that the cluster holds what was loaded.
func (e *expectation) check(set dataSet) error {
	namespaces := set.namespaces()
	count := 0
	for _, o := range e.objects {
		if _, found := slices.BinarySearch(namespaces, o.namespace); found && o.namespace != corev1.NamespaceAll {
			count++
		}
	}
	if count != set.size() {
		return fmt.Errorf("the cluster holds %d objects in the namespaces %s*, not the %d that were to be loaded; hint: run once without KEEP=1", count, namespacePrefix, set.size())
	}
	return nil
}

// missing names up to a few of the objects that aren't in the archive.
func (e *expectation) missing(in map[object]entry) error {
	const told = 5
	var names []string
	for _, o := range e.objects {
		if in[o].places == 0 {
			names = append(names, o.String())
		}
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("the archive lacks %d objects of the cluster: %s", len(names), strings.Join(names[:min(told, len(names))], ", "))
}

package cluster_test

import (
	"errors"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// served is a cluster that answers discovery; nothing else is asked of it.
type served struct {
	discovery.DiscoveryInterface
	groups []*metav1.APIGroup
	lists  []*metav1.APIResourceList
	err    error
}

func (s served) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	return s.groups, s.lists, s.err
}

func group(name string, preferred string, versions ...string) *metav1.APIGroup {
	g := &metav1.APIGroup{Name: name}
	for _, v := range versions {
		gv := metav1.GroupVersionForDiscovery{GroupVersion: schema.GroupVersion{Group: name, Version: v}.String(), Version: v}
		g.Versions = append(g.Versions, gv)
		if v == preferred {
			g.PreferredVersion = gv
		}
	}
	return g
}

func TestDiscoverTakesPreferredVersions(t *testing.T) {
	t.Parallel()
	verbs := metav1.Verbs{"list", "get"}
	found, err := cluster.Discover(served{
		groups: []*metav1.APIGroup{group("", "v1", "v1"), group("autoscaling", "v2", "v1", "v2")},
		lists: []*metav1.APIResourceList{
			{GroupVersion: "v1", APIResources: []metav1.APIResource{
				{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true, ShortNames: []string{"po"}, Verbs: verbs},
				{Name: "pods/log", Kind: "Pod"},
			}},
			{GroupVersion: "autoscaling/v1", APIResources: []metav1.APIResource{{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Verbs: verbs}, {Name: "oldones", Kind: "Old"}}},
			{GroupVersion: "autoscaling/v2", APIResources: []metav1.APIResource{{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", ShortNames: []string{"hpa"}, Verbs: verbs}}},
		},
		err: &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{{Group: "metrics.k8s.io", Version: "v1"}: errors.New("down")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	hpa, ok := found.Lookup(schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"})
	if !ok || hpa.Version != "v2" || !hpa.Preferred {
		t.Errorf("hpa = %+v", hpa)
	}
	old, ok := found.Lookup(schema.GroupResource{Group: "autoscaling", Resource: "oldones"})
	if !ok || old.Version != "v1" || old.Preferred {
		t.Errorf("a kind that the preferred version lacks = %+v", old)
	}
	if len(found.All()) != 3 || len(found.Failed) != 1 {
		t.Errorf("%d kinds, %d failed group versions", len(found.All()), len(found.Failed))
	}
	if got := found.Served(hpa.GroupResource()); !slices.Equal(got, []string{"v2", "v1"}) {
		t.Errorf("served versions %q", got)
	}
	if all := found.Versions(hpa.GroupResource()); len(all) != 2 || !all[0].Preferred || all[0].Version != "v2" || all[1].Preferred || all[1].Version != "v1" || !all[1].Can("list") {
		t.Errorf("versions %+v", all)
	}
	if found.Versions(schema.GroupResource{Resource: "nothings"}) != nil {
		t.Error("versions of a kind that isn't served")
	}
	for _, name := range []string{"po", "pod", "Pods", "hpa", "horizontalpodautoscalers.autoscaling"} {
		if _, ok := found.Resolve(name); !ok {
			t.Errorf("Resolve(%q) found nothing", name)
		}
	}
	if _, ok := found.Resolve("nothing"); ok {
		t.Error("Resolve found a kind that doesn't exist")
	}
	if !hpa.Can("list", "get") || hpa.Can("create") {
		t.Error("Can looks at the wrong verbs")
	}
}

func TestDiscoverFailsWhole(t *testing.T) {
	t.Parallel()
	if _, err := cluster.Discover(served{err: errors.New("connection refused")}); err == nil {
		t.Error("no error")
	}
}

package backup

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// served answers discovery with a few kinds; those with a leading slash are
// cluster-scoped.
type served struct {
	discovery.DiscoveryInterface
	kinds []string
}

func (s served) ServerGroupsAndResources() ([]*metav1.APIGroup, []*metav1.APIResourceList, error) {
	var groups []*metav1.APIGroup
	var lists []*metav1.APIResourceList
	for _, kind := range s.kinds {
		name, clusterScoped := strings.CutPrefix(kind, "/")
		gr := schema.ParseGroupResource(name)
		gv := schema.GroupVersion{Group: gr.Group, Version: "v1"}.String()
		version := metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: "v1"}
		i := slices.IndexFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == gv })
		if i < 0 {
			i = len(lists)
			groups = append(groups, &metav1.APIGroup{Name: gr.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
			lists = append(lists, &metav1.APIResourceList{GroupVersion: gv})
		}
		lists[i].APIResources = append(lists[i].APIResources, metav1.APIResource{
			Name: gr.Resource, Kind: gr.Resource, Namespaced: !clusterScoped, Verbs: metav1.Verbs{"list", "create", "get", "delete"},
		})
	}
	return groups, lists, nil
}

func newPlan(t *testing.T, spec filter.Spec, kinds ...string) *plan {
	t.Helper()
	resources, err := cluster.Discover(served{kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.New(spec, resources.Resolve)
	if err != nil {
		t.Fatal(err)
	}
	p := &plan{filter: f, namespaces: map[string]namespace{}}
	p.kinds = p.allKinds(resources, false)
	return p
}

func TestKindsInRestoreOrder(t *testing.T) {
	t.Parallel()
	p := newPlan(t, filter.Spec{},
		"pods", "events", "events.events.k8s.io", "/persistentvolumes", "services", "secrets", "/namespaces", "deployments.apps",
		"/validatingwebhookconfigurations.admissionregistration.k8s.io", "/customresourcedefinitions.apiextensions.k8s.io",
		snapshotResource.String(), "/"+snapshotContentResource.String(), "/storageclasses.storage.k8s.io")
	var got []string
	for _, k := range p.kinds {
		if k.wanted {
			got = append(got, k.coverage.Resource)
		} else if k.coverage.Reason == "" {
			t.Errorf("%s is left out without a reason", k.coverage.Resource)
		}
	}
	want := []string{
		"customresourcedefinitions.apiextensions.k8s.io", "namespaces", "persistentvolumes", "storageclasses.storage.k8s.io", "secrets",
		"pods", "deployments.apps", "events", "services", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func TestNamespaceSelection(t *testing.T) {
	t.Parallel()
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	live := map[string]namespace{
		"shop":    {active: true},
		"web":     {active: true, labels: map[string]string{"app": "web"}},
		"dying":   {},
		"private": {active: true, labels: map[string]string{velerov1.ExcludeFromBackupLabel: "true"}},
	}
	for _, c := range []struct {
		name    string
		spec    filter.Spec
		objects []string // namespaces whose objects are selected
		itself  []string // Namespace objects that are selected
	}{
		{"everything", filter.Spec{}, []string{"dying", "shop", "web"}, []string{"shop", "web"}},
		{"one", filter.Spec{IncludedNamespaces: []string{"shop"}}, []string{"shop"}, []string{"shop"}},
		{"labels alone", filter.Spec{LabelSelector: web}, []string{"dying", "shop", "web"}, []string{"web"}},
		{"labels in a namespace", filter.Spec{IncludedNamespaces: []string{"shop"}, LabelSelector: web}, []string{"shop"}, []string{"shop"}},
		{"labelled out wins over named", filter.Spec{IncludedNamespaces: []string{"private"}}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlan(t, c.spec)
			p.namespaces = live
			var objects, itself []string
			for name := range live {
				if p.selects(name) {
					objects = append(objects, name)
				}
				if p.unselectedNamespace(name) == "" {
					itself = append(itself, name)
				}
			}
			slices.Sort(objects)
			slices.Sort(itself)
			if diff := cmp.Diff([][]string{c.objects, c.itself}, [][]string{objects, itself}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestListedNamespaces(t *testing.T) {
	t.Parallel()
	k := newKind(cluster.Resource{GroupVersionResource: podResource.WithVersion("v1"), Namespaced: true}, true)
	for _, c := range []struct {
		name string
		spec filter.Spec
		kind *kind
		want []string
	}{
		{"no live namespace lists nothing", filter.Spec{IncludedNamespaces: []string{"nobody"}}, k, nil},
		{"everything is one list", filter.Spec{}, k, []string{""}},
		{"some", filter.Spec{IncludedNamespaces: []string{"sh*"}}, k, []string{"shop"}},
		{"cluster-scoped", filter.Spec{IncludedNamespaces: []string{"shop"}}, newKind(cluster.Resource{}, true), []string{""}},
	} {
		p := newPlan(t, c.spec)
		p.namespaces = map[string]namespace{"shop": {active: true}, "web": {active: true}}
		if diff := cmp.Diff(c.want, p.listedNamespaces(c.kind)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestOurselvesStayOut(t *testing.T) {
	t.Parallel()
	var ours ourselves
	ours.namespaces, ours.secrets = map[string]bool{}, places{}
	ours.install("velero")
	ours.secrets[place{"velero", "backup-key"}] = true
	object := func(ns, name string, labels map[string]string) cluster.Object {
		return cluster.Object{Namespace: ns, Name: name, Labels: labels}
	}
	component := map[string]string{"component": "velero"}
	operation := map[string]string{velerov1.OperationLabel: "backup"}
	for _, c := range []struct {
		resource string
		obj      cluster.Object
		want     bool
	}{
		{"secrets", object("velero", "backup-key", nil), true},
		{"secrets", object("shop", "backup-key", nil), false},
		{"secrets", object("velero", "other", nil), false},
		{"jobs.batch", object("velero", "backup-x", operation), true},
		{"cronjobs.batch", object("velero", "velero-maintenance", component), true},
		{"cronjobs.batch", object("shop", "nightly", component), false},
		{"clusterrolebindings.rbac.authorization.k8s.io", object("", "velero-restore-1", operation), true},
		{"clusterrolebindings.rbac.authorization.k8s.io", object("", "velero", component), true},
		{"clusterroles.rbac.authorization.k8s.io", object("", "velero", component), false},
		{"schedules.velero.io", object("velero", "nightly", component), false},
		{"configmaps", object("velero", "x", component), false},
	} {
		if got := ours.reason(schema.ParseGroupResource(c.resource), c.obj) != ""; got != c.want {
			t.Errorf("%s %s/%s: %v, want %v", c.resource, c.obj.Namespace, c.obj.Name, got, c.want)
		}
	}
}

func TestBoundClaimsLoseWhatTiesThem(t *testing.T) {
	t.Parallel()
	const bound = `{"metadata":{"name":"data","labels":{"app":"web","velero.io/restore-name":"r","velero.io/backup-name":"old"}},` +
		`"spec":{"volumeName":"pv1","storageClassName":"fast","dataSource":{"kind":"VolumeSnapshot","name":"s"},"selector":{"matchLabels":{"a":"b"}}},"status":{"phase":"Bound"}}`
	n := newNeeds()
	body, err := n.claim("new", cluster.Object{Raw: []byte(bound)}, []byte(bound))
	if err != nil {
		t.Fatal(err)
	}
	var claim corev1.PersistentVolumeClaim
	if err := json.Unmarshal(body, &claim); err != nil {
		t.Fatal(err)
	}
	if claim.Spec.DataSource != nil || claim.Spec.Selector != nil {
		t.Errorf("source or selector kept: %s", body)
	}
	if diff := cmp.Diff(map[string]string{"app": "web"}, claim.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if !n.volumes[place{name: "pv1"}] {
		t.Error("the volume isn't noted as needed")
	}
	const pending = `{"spec":{"dataSource":{"kind":"VolumeSnapshot","name":"s"}},"status":{"phase":"Pending"}}`
	if body, err := n.claim("new", cluster.Object{Raw: []byte(pending)}, []byte(pending)); err != nil || string(body) != pending {
		t.Errorf("a claim that isn't bound changed: %s, %v", body, err)
	}
}

func TestPodsNeedTheirClaimsAndPriorityClass(t *testing.T) {
	t.Parallel()
	n := newNeeds()
	pod, err := readPod(cluster.Object{Raw: []byte(`{"spec":{"priorityClassName":"high","volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}},{"name":"t","emptyDir":{}}]}}`)})
	if err != nil {
		t.Fatal(err)
	}
	n.pod("shop", pod)
	if len(n.claims) != 1 || !n.claims[place{"shop", "data"}] || !n.priorityClasses[place{name: "high"}] {
		t.Errorf("claims %v, priority classes %v", n.claims, n.priorityClasses)
	}
}

func TestPodsThatShareAClaimAreOneBlock(t *testing.T) {
	t.Parallel()
	pod := func(name string, inOrder bool, claims ...string) hookedPod {
		p := hookedPod{pod: hooks.Pod{Namespace: "shop", Name: name}, inOrder: inOrder}
		for _, claim := range claims {
			p.claims = append(p.claims, place{"shop", claim})
		}
		return p
	}
	for _, c := range []struct {
		name string
		pods []hookedPod
		want [][]string
	}{
		{"alone", []hookedPod{pod("a", false), pod("b", false, "x")}, [][]string{{"a"}, {"b"}}},
		{"shared", []hookedPod{pod("a", false, "x"), pod("b", false, "y"), pod("c", false, "x")}, [][]string{{"b"}, {"a", "c"}}},
		{"joined by a third", []hookedPod{pod("a", false, "x"), pod("b", false, "y"), pod("c", false, "x", "y")}, [][]string{{"a", "b", "c"}}},
		{"in order", []hookedPod{pod("a", true), pod("b", true), pod("c", false)}, [][]string{{"a", "b"}, {"c"}}},
	} {
		var got [][]string
		for _, block := range blocksOf(c.pods) {
			var names []string
			for _, p := range block {
				names = append(names, p.pod.Name)
			}
			got = append(got, names)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestWhatBelongsTogetherIsFoundWithoutAsking(t *testing.T) {
	t.Parallel()
	at := func(name string) place { return place{"shop", name} }
	index := &mounts{
		claimsOf: map[place][]place{at("web-1"): {at("data"), at("logs")}, at("web-2"): {at("data")}},
		podsOf:   map[place][]place{at("data"): {at("web-1"), at("web-2")}, at("logs"): {at("web-1")}},
		groupOf:  map[place]place{at("logs"): at("g"), at("archive"): at("g")},
		grouped:  map[place][]place{at("g"): {at("logs"), at("archive")}},
	}
	n := newNeeds()
	n.settle(claimResource, at("data"))
	pods, claims := index.closure(n)
	if diff := cmp.Diff(places{at("web-1"): true, at("web-2"): true}, pods); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(places{at("data"): true, at("logs"): true, at("archive"): true}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestTwinsAreStoredOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		spec filter.Spec
		want []string
	}{
		{"everything", filter.Spec{}, []string{"events"}},
		{"excluded under one name", filter.Spec{ExcludedResources: []string{"events"}}, nil},
		{"only the other is asked for", filter.Spec{IncludedResources: []string{"events.events.k8s.io"}}, []string{"events.events.k8s.io"}},
		{"newer family", filter.Spec{ExcludedNamespaceScopedResources: []string{"events"}}, nil},
	} {
		var got []string
		for _, k := range newPlan(t, c.spec, "events", "events.events.k8s.io").kinds {
			if k.wanted {
				got = append(got, k.coverage.Resource)
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

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
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
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
	return &plan{resources: resources, filter: f, namespaces: map[string]namespace{}}
}

func TestKindsInRestoreOrder(t *testing.T) {
	t.Parallel()
	p := newPlan(t, filter.Spec{},
		"pods", "events", "events.events.k8s.io", "/persistentvolumes", "services", "secrets", "/namespaces", "deployments.apps",
		"/validatingwebhookconfigurations.admissionregistration.k8s.io", "/customresourcedefinitions.apiextensions.k8s.io",
		volumeSnapshots, "/"+volumeSnapshotContents, "/storageclasses.storage.k8s.io")
	var got []string
	for _, res := range p.selectKinds() {
		got = append(got, res.GroupResource().String())
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
				if p.selectsNamespaceObject(name) {
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
	p := newPlan(t, filter.Spec{IncludedNamespaces: []string{"nobody"}})
	p.namespaces = map[string]namespace{"shop": {active: true}}
	if got := p.listed(); got == nil || len(got) != 0 {
		t.Errorf("a selection of no live namespace lists %v, want an empty list, not all", got)
	}
	p = newPlan(t, filter.Spec{})
	p.namespaces = map[string]namespace{"shop": {active: true}}
	if got := p.listed(); got != nil {
		t.Errorf("everything lists %v, want one list over all", got)
	}
}

func TestOurselvesStayOut(t *testing.T) {
	t.Parallel()
	ours := ourselves{namespace: "velero", secrets: map[string]bool{"cloud-credentials": true, "backup-key": true}}
	object := func(ns, name string, labels map[string]string) header {
		var h header
		h.Metadata.Namespace, h.Metadata.Name, h.Metadata.Labels = ns, name, labels
		return h
	}
	component := map[string]string{"component": "velero"}
	operation := map[string]string{velerov1.OperationLabel: "backup"}
	for _, c := range []struct {
		resource string
		obj      header
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
		if got := ours.has(schema.ParseGroupResource(c.resource), c.obj); got != c.want {
			t.Errorf("%s %s/%s: %v, want %v", c.resource, c.obj.Metadata.Namespace, c.obj.Metadata.Name, got, c.want)
		}
	}
}

func TestDecodeAddsKindOnlyWhereItIsMissing(t *testing.T) {
	t.Parallel()
	res := cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Kind: "Deployment"}
	for raw, want := range map[string]string{
		`{"metadata":{"name":"web"}}`:                                          `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"}}`,
		`{"apiVersion":"x/v1","kind":"Y","spec":{"big":12345678901234567890}}`: `{"apiVersion":"x/v1","kind":"Y","spec":{"big":12345678901234567890}}`,
	} {
		obj, err := decode(res, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(obj.body); got != want || !json.Valid(obj.body) {
			t.Errorf("decode(%s) = %s", raw, got)
		}
	}
	if _, err := decode(res, []byte(`{"metadata":7}`)); err == nil {
		t.Error("garbage was decoded")
	}
}

func TestBoundClaimsLoseWhatTiesThem(t *testing.T) {
	t.Parallel()
	const bound = `{"metadata":{"name":"data","labels":{"app":"web","velero.io/restore-name":"r","velero.io/backup-name":"old"}},` +
		`"spec":{"volumeName":"pv1","storageClassName":"fast","dataSource":{"kind":"VolumeSnapshot","name":"s"},"selector":{"matchLabels":{"a":"b"}}},"status":{"phase":"Bound"}}`
	n := newNeeds()
	body, err := n.claim("new", []byte(bound))
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
	if body, err := n.claim("new", []byte(pending)); err != nil || string(body) != pending {
		t.Errorf("a claim that isn't bound changed: %s, %v", body, err)
	}
}

func TestPodsNeedTheirClaimsAndPriorityClass(t *testing.T) {
	t.Parallel()
	n := newNeeds()
	err := n.pod(ref.Object{Namespace: "shop", Name: "web"}, []byte(`{"spec":{"priorityClassName":"high","volumes":[{"name":"d","persistentVolumeClaim":{"claimName":"data"}},{"name":"t","emptyDir":{}}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(n.claims) != 1 || !n.claims[place{"shop", "data"}] || !n.priorityClasses[place{name: "high"}] {
		t.Errorf("claims %v, priority classes %v", n.claims, n.priorityClasses)
	}
}

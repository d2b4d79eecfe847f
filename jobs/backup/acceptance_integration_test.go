//go:build integration

package backup_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// The tests of this file are named after the acceptance statements for Velero's
// behaviour. 12 needs plugins, which this program doesn't run yet; 13 and 14
// are tested where the hooks are, 18 and 19 where the snapshots are, 15 comes with
// file-system backups.

var (
	claims     = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	volumes    = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	podsV1     = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
)

// expect compares what is in the archive, whatever the order.
func (f *fixture) expect(name, want string) {
	f.t.Helper()
	got := strings.Fields(strings.ReplaceAll(strings.Join(f.items(name), "\n"), " ", "="))
	f.compare(got, want)
}

// expectMine is expect for what the fixture itself made: its namespace's name is
// in that of the object or of its namespace. The API server adds APIServices.
func (f *fixture) expectMine(name, want string) {
	f.t.Helper()
	var got []string
	for _, item := range f.items(name) {
		if strings.Contains(item, f.app) && !strings.HasPrefix(item, "apiservices.") {
			got = append(got, strings.ReplaceAll(item, " ", "="))
		}
	}
	f.compare(got, want)
}

// compare takes a list like "pods=APP/web namespaces=/APP".
func (f *fixture) compare(got []string, want string) {
	f.t.Helper()
	wanted := strings.Fields(strings.ReplaceAll(want, "APP", f.app))
	slices.Sort(wanted)
	slices.Sort(got)
	if diff := cmp.Diff(wanted, got, cmpopts.EquateEmpty()); diff != "" {
		f.t.Errorf("objects in the archive (-want +got):\n%s", diff)
	}
}

// volume makes a volume and a claim bound to it, as controllers leave them.
func (f *fixture) volume(claim string) {
	f.t.Helper()
	f.manifests(strings.ReplaceAll(`# persistentvolumes
{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-CLAIM}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: APP-class, hostPath: {path: /x}, persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: APP, name: CLAIM}}}
---
# persistentvolumeclaims
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: CLAIM, namespace: APP}, spec: {accessModes: [ReadWriteOnce], storageClassName: APP-class, volumeName: APP-CLAIM, resources: {requests: {storage: 1Gi}}}}
`, "CLAIM", claim))
	f.patchStatus(claims, f.app, claim, `{"phase":"Bound"}`)
	f.patchStatus(volumes, "", f.app+"-"+claim, `{"phase":"Bound"}`)
}

// pod makes a pod with claims.
func (f *fixture) pod(name string, podClaims ...string) {
	f.t.Helper()
	var list []string
	for _, claim := range podClaims {
		list = append(list, strings.ReplaceAll("{name: CLAIM, persistentVolumeClaim: {claimName: CLAIM}}", "CLAIM", claim))
	}
	f.apply(strings.NewReplacer("APP", f.app, "NAME", name, "LIST", strings.Join(list, ", ")).Replace(
		`{apiVersion: v1, kind: Pod, metadata: {name: NAME, namespace: APP, labels: {pod: NAME}}, spec: {automountServiceAccountToken: false, containers: [{name: c, image: x}], volumes: [LIST]}}`), "pods")
}

// labelled gives an object the label "take".
func (f *fixture) labelled(plural, name, value string) {
	f.t.Helper()
	patch := []byte(`{"metadata":{"labels":{"take":"` + value + `"}}}`)
	resource := f.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: plural}).Namespace(f.app)
	if _, err := resource.Patch(f.t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

// account makes the default service account, which controllers would.
func (f *fixture) account() {
	f.t.Helper()
	f.manifests("# serviceaccounts\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP}}")
}

// terminating marks an object as being deleted, until the test ends.
func (f *fixture) terminating(gvr schema.GroupVersionResource, name string) {
	f.t.Helper()
	resource := f.dynamic.Resource(gvr).Namespace(f.app)
	finalizers := func(ctx context.Context, list string) error {
		_, err := resource.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":`+list+`}}`), metav1.PatchOptions{})
		return err
	}
	if err := finalizers(f.t.Context(), `["example.com/hold"]`); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = finalizers(context.Background(), "null") }) // as a tidy neighbour
	if err := resource.Delete(f.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		f.t.Fatal(err)
	}
}

func TestF01TerminatingItemsAreNeverStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.configMap("stays", nil)
	f.configMap("goes", nil)
	f.volume("data")
	f.pod("web", "data")
	f.terminating(configMaps, "goes")
	f.terminating(claims, "data")
	f.backUp("selected", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expect("selected", "namespaces=/APP serviceaccounts=APP/default configmaps=APP/stays pods=APP/web")
	// Not as a related object either.
	f.backUp("related", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"pod": "web"}}})
	f.expect("related", "namespaces=/APP pods=APP/web")
	if _, _, skipped := f.kind("selected", "configmaps"); len(skipped) == 0 {
		t.Error("the coverage doesn't say that an object was skipped")
	}
}

// What is in a namespace that goes away may still be wanted; the Namespace
// itself isn't stored, and a restore makes it anew.
func TestF01TerminatingNamespace(t *testing.T) {
	f := newFixture(t)
	f.manifests("# namespaces\n{apiVersion: v1, kind: Namespace, metadata: {name: APP-going}}\n---\n# configmaps\n{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: APP-going}}\n")
	if err := f.dynamic.Resource(namespaces).Delete(t.Context(), f.app+"-going", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.backUp("all", report.Completed, velerov1.BackupSpec{SnapshotVolumes: new(bool)})
	f.expectMine("all", "namespaces=/APP configmaps=APP-going/inside")
}

func TestF02ExcludeLabelWinsAlsoForRelatedItems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(`# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: "false", namespace: APP, labels: {velero.io/exclude-from-backup: "false", app: web}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: "true", namespace: APP, labels: {velero.io/exclude-from-backup: "true", app: web}}}
---
# serviceaccounts
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP}}
---
# priorityclasses
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP-high, labels: {velero.io/exclude-from-backup: "true"}}, value: 7}
---
# pods
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: APP, labels: {app: web}}, spec: {priorityClassName: APP-high, containers: [{name: c, image: x}]}}
`)
	f.backUp("one", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}})
	f.expect("one", "namespaces=/APP configmaps=APP/false pods=APP/web")
}

// A world in which a namespace refers to cluster-scoped objects, beside others.
const referring = `# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
# widgets
{apiVersion: APP.example.com/v1, kind: Widget, metadata: {name: gear, namespace: APP}}
---
# serviceaccounts
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP}}
---
# clusterroles
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-used}, rules: []}
---
# clusterrolebindings
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-used}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-used}, subjects: [{kind: ServiceAccount, name: default, namespace: APP}]}
---
# clusterroles
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-other}, rules: []}
---
# storageclasses
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: APP-class}, provisioner: kubernetes.io/no-provisioner}
---
# persistentvolumes
{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-other}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /x}, persistentVolumeReclaimPolicy: Retain}}
`

const (
	// inReferring is what the namespace of that world holds.
	inReferring = "namespaces=/APP serviceaccounts=APP/default persistentvolumeclaims=APP/data widgets.APP.example.com=APP/gear "
	// neededByReferring is what that refers to.
	neededByReferring = "persistentvolumes=/APP-data clusterroles.rbac.authorization.k8s.io=/APP-used clusterrolebindings.rbac.authorization.k8s.io=/APP-used "
	definition        = "customresourcedefinitions.apiextensions.k8s.io=/widgets.APP.example.com "
	unrelated         = "clusterroles.rbac.authorization.k8s.io=/APP-other storageclasses.storage.k8s.io=/APP-class persistentvolumes=/APP-other "
)

func TestF03SubsetStoresItsContentAndWhatItRefersTo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(referring)
	f.volume("data")
	f.backUp("subset", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, SnapshotVolumes: new(bool)})
	f.expect("subset", inReferring+neededByReferring+definition)
}

func TestF04IncludeClusterResourcesFalseStoresNoClusterScopedObject(t *testing.T) {
	f := newFixture(t)
	f.manifests(referring)
	f.volume("data")
	f.backUp("none", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, IncludeClusterResources: new(bool)})
	f.expect("none", inReferring)
	f.backUp("whole", report.Completed, velerov1.BackupSpec{IncludeClusterResources: new(bool), ExcludedResources: []string{"secrets"}})
	for _, o := range f.objects("whole") {
		if o.namespace == "" && o.resource != "namespaces" {
			t.Errorf("%s is stored", o)
		}
	}
}

func TestF05UnknownTypes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", nil)
	only := []string{f.app}
	summary, _ := f.backUp("included", report.PartiallyFailed, velerov1.BackupSpec{IncludedNamespaces: only, IncludedResources: []string{"nosuchthings"}})
	if !strings.Contains(summary.Reason, "matches nothing") {
		t.Errorf("reason %q", summary.Reason)
	}
	f.backUp("excluded", report.Completed, velerov1.BackupSpec{IncludedNamespaces: only, ExcludedResources: []string{"nosuchthings"}})
	f.expect("excluded", "namespaces=/APP configmaps=APP/kept")
	f.backUp("excluded-newer", report.Completed, velerov1.BackupSpec{IncludedNamespaces: only, ExcludedNamespaceScopedResources: []string{"nosuchthings"}, ExcludedClusterScopedResources: []string{"nosuchthings"}})
	f.expect("excluded-newer", "namespaces=/APP configmaps=APP/kept")
}

func TestF06DefinitionsFollowCustomResources(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(referring)
	only, crds := []string{f.app}, []string{"customresourcedefinitions"}
	yes := true
	for name, c := range map[string]struct {
		spec velerov1.BackupSpec
		want bool
	}{
		"subset":         {velerov1.BackupSpec{}, true},
		"kind":           {velerov1.BackupSpec{IncludedResources: []string{"widgets." + f.app + ".example.com"}}, true},
		"excluded":       {velerov1.BackupSpec{ExcludedResources: []string{"crd"}}, false},
		"excluded-newer": {velerov1.BackupSpec{ExcludedClusterScopedResources: crds}, false},
		"no-cluster":     {velerov1.BackupSpec{IncludeClusterResources: new(bool)}, false},
		"all-cluster":    {velerov1.BackupSpec{IncludeClusterResources: &yes}, true},
		"all-newer":      {velerov1.BackupSpec{IncludedClusterScopedResources: crds}, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			c.spec.IncludedNamespaces = only
			f.backUp(name, report.Completed, c.spec)
			items := f.items(name)
			if got := slices.Contains(items, "customresourcedefinitions.apiextensions.k8s.io /widgets."+f.app+".example.com"); got != c.want {
				t.Errorf("the definition is stored: %v", got)
			}
			others := slices.Contains(items, "customresourcedefinitions.apiextensions.k8s.io /backups.velero.io")
			if all := strings.HasPrefix(name, "all-"); others != all {
				t.Errorf("other definitions are stored: %v", others)
			}
		})
	}
}

// in is the fixture for a subtest.
func (f *fixture) in(t *testing.T) *fixture {
	sub := *f
	sub.t = t
	return &sub
}

func TestF08PodsThenClaimsThenVolumesThenTheRest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	f.configMap("kept", nil)
	f.backUp("all", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, IncludedClusterScopedResources: []string{"persistentvolumes"}, SnapshotVolumes: new(bool)})
	var kinds []string
	for _, o := range f.objects("all") {
		if !slices.Contains(kinds, o.resource) {
			kinds = append(kinds, o.resource)
		}
	}
	want := []string{"pods", "persistentvolumeclaims", "persistentvolumes"}
	if len(kinds) < 3 || !slices.Equal(kinds[:3], want) {
		t.Errorf("the archive begins with %v, want %v", kinds, want)
	}
}

func TestF08OrderedResourcesAreHonoured(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	for _, name := range []string{"a", "b", "c", "d"} {
		f.pod(name)
		f.volume("v" + name)
	}
	_, after := f.backUp("ordered", report.Completed, velerov1.BackupSpec{
		IncludedNamespaces: []string{f.app}, IncludedClusterScopedResources: []string{"persistentvolumes"}, SnapshotVolumes: new(bool),
		OrderedResources: map[string]string{
			"pods":              f.app + "/c," + f.app + "/nobody," + f.app + "/b",
			"persistentvolumes": f.app + "-vd," + f.app + "-va",
		},
	})
	names := map[string]string{}
	for _, o := range f.objects("ordered") {
		if strings.Contains(o.qualified(), f.app) {
			names[o.resource] += " " + strings.TrimPrefix(o.name, f.app+"-")
		}
	}
	if names["pods"] != " c b a d" || names["persistentvolumes"] != " vd va vb vc" {
		t.Errorf("pods %s, volumes %s", names["pods"], names["persistentvolumes"])
	}
	warnings, _ := f.results("ordered")
	if after.Status.Warnings != 1 || !strings.Contains(strings.Join(warnings, ""), "nobody") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestF09NamespacesWithSelectors(t *testing.T) {
	f := newFixture(t)
	f.manifests(`# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-match, labels: {shop: APP}}}
---
# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-holds}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: "yes", namespace: APP-holds, labels: {shop: APP}}}
---
# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-neither}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: "no", namespace: APP-neither}}
`)
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"shop": f.app}}
	f.backUp("selector", report.Completed, velerov1.BackupSpec{LabelSelector: selector})
	f.expect("selector", "namespaces=/APP-match namespaces=/APP-holds configmaps=APP-holds/yes")
	f.backUp("both", report.Completed, velerov1.BackupSpec{LabelSelector: selector, IncludedNamespaces: []string{f.app + "-neither", f.app + "-holds"}})
	f.expect("both", "namespaces=/APP-neither namespaces=/APP-holds configmaps=APP-holds/yes")
	f.backUp("or", report.Completed, velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{
		selector, {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "shop", Operator: metav1.LabelSelectorOpIn, Values: []string{f.app}}}},
	}})
	f.expect("or", "namespaces=/APP-match namespaces=/APP-holds configmaps=APP-holds/yes")
}

func TestF10NewerFiltersWithoutClusterScopedObjects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(referring)
	f.volume("data")
	newer := velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, IncludedNamespaceScopedResources: []string{"*"}, ExcludedClusterScopedResources: []string{"*"}}
	f.backUp("none", report.Completed, newer)
	for _, o := range f.objects("none") {
		if o.namespace == "" && o.resource != "namespaces" {
			t.Errorf("%s is stored", o)
		}
	}
}

func TestF11AMissingRelatedItemIsAWarning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("one", "data", "missing")
	f.pod("two", "data")
	_, after := f.backUp("one", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, IncludedResources: []string{"pods", "pvc"}, SnapshotVolumes: new(bool)})
	warnings, _ := f.results("one")
	if after.Status.Warnings != 1 || !strings.Contains(strings.Join(warnings, ""), "missing") {
		t.Errorf("warnings %q", warnings)
	}
	// The audit has seen that none is there twice.
	var related []string
	for _, item := range f.items("one") {
		if strings.HasPrefix(item, "pods ") || strings.HasPrefix(item, "persistentvolumeclaims ") {
			related = append(related, strings.ReplaceAll(item, " ", "="))
		}
	}
	f.compare(related, "pods=APP/one pods=APP/two persistentvolumeclaims=APP/data")
}

func TestF20ReadOnlyLocationIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	patch := []byte(`{"spec":{"accessMode":"ReadOnly"}}`)
	if _, err := f.client.BackupStorageLocations(f.velero).Patch(t.Context(), "default", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	f.add("one", velerov1.BackupSpec{})
	_, after := f.run("one", nil)
	if after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(strings.Join(after.Status.ValidationErrors, ""), "read-only") {
		t.Errorf("status %+v", after.Status)
	}
	if keys := f.keys(); len(keys) > 0 {
		t.Errorf("the bucket got %q", keys)
	}
}

func TestF20ExistingNameLeavesTheStoreUnchanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", nil)
	f.backUp("taken", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	before := f.content("")
	if err := f.client.Backups(f.velero).Delete(t.Context(), "taken", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, after := f.backUp("taken", report.Failed, velerov1.BackupSpec{})
	if after.Status.Phase != velerov1.BackupPhaseFailed || !strings.Contains(after.Status.FailureReason, "already exists") {
		t.Errorf("status %+v", after.Status)
	}
	if diff := cmp.Diff(before, f.content("")); diff != "" {
		t.Errorf("the bucket changed:\n%s", diff)
	}
}

func TestF21NamespaceLabelledExcludeFromBackup(t *testing.T) {
	f := newFixture(t)
	f.manifests(`# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-out, labels: {velero.io/exclude-from-backup: "true"}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: APP-out}}
`)
	f.configMap("kept", nil)
	f.backUp("all", report.Completed, velerov1.BackupSpec{})
	f.expectMine("all", "namespaces=/APP configmaps=APP/kept")
	marker, err := catalog.New(f.bucket()).ReadBackup(t.Context(), "all")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(marker.Spec.ExcludedNamespaces, f.app+"-out") {
		t.Errorf("excludedNamespaces %q", marker.Spec.ExcludedNamespaces)
	}
	// The label doesn't make an unfiltered backup a partial one.
	if !slices.Contains(f.items("all"), "clusterroles.rbac.authorization.k8s.io /cluster-admin") {
		t.Error("the backup lacks cluster-scoped objects")
	}
	f.add("named", velerov1.BackupSpec{IncludedNamespaces: []string{f.app, f.app + "-out"}})
	f.run("named", nil)
	f.expectMine("named", "namespaces=/APP configmaps=APP/kept")
}

//go:build integration

package backup_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// A world to select from: APP and APP-b with objects, APP-x labelled as not to
// be backed up, APP-empty, and cluster-scoped objects of three kinds.
const world = `# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-b, labels: {team: APP-b}}}
---
# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-x, labels: {velero.io/exclude-from-backup: "true"}}}
---
# namespaces
{apiVersion: v1, kind: Namespace, metadata: {name: APP-empty}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP, labels: {app: web, set: APP}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: APP, labels: {app: db, set: APP}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: hidden, namespace: APP, labels: {app: web, set: APP, velero.io/exclude-from-backup: "true"}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: APP-b, labels: {app: web, set: APP}}}
---
# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: APP-x, labels: {app: web, set: APP}}}
---
# secrets
{apiVersion: v1, kind: Secret, metadata: {name: db-main, namespace: APP, labels: {app: db}}}
---
# secrets
{apiVersion: v1, kind: Secret, metadata: {name: db-copy, namespace: APP}}
---
# secrets
{apiVersion: v1, kind: Secret, metadata: {name: token, namespace: APP-b}}
---
# deployments
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: APP, labels: {app: web}}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}}
---
# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: gadgets, singular: APP-gadget, kind: Gadget, shortNames: [APP-gdt]}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
# gadgets
{apiVersion: APP.example.com/v1, kind: Gadget, metadata: {name: gear, namespace: APP}}
---
# clusterroles
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-role, labels: {app: web}}, rules: []}
---
# storageclasses
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: APP-class}, provisioner: kubernetes.io/no-provisioner}
---
# priorityclasses
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP-prio}, value: 7}
`

// Parts of that world, as expectMine wants them.
const (
	wConfig  = "configmaps=APP/one configmaps=APP/two "
	wSecrets = "secrets=APP/db-main secrets=APP/db-copy "
	wDeploy  = "deployments.apps=APP/web "
	wGadget  = "gadgets.APP.example.com=APP/gear "
	wCRD     = "customresourcedefinitions.apiextensions.k8s.io=/gadgets.APP.example.com "
	wRole    = "clusterroles.rbac.authorization.k8s.io=/APP-role "
	wClass   = "storageclasses.storage.k8s.io=/APP-class "
	wPrio    = "priorityclasses.scheduling.k8s.io=/APP-prio "
	wCluster = wCRD + wRole + wClass + wPrio
	wApp     = wConfig + wSecrets + wDeploy + wGadget
	wB       = "configmaps=APP-b/one secrets=APP-b/token "
	nsApp    = "namespaces=/APP "
	nsB      = "namespaces=/APP-b "
	nsEmpty  = "namespaces=/APP-empty "
)

// selectionCase is one selection and what of the world it takes.
type selectionCase struct {
	name        string
	spec        velerov1.BackupSpec
	annotations map[string]string
	want        string
	outcome     report.Outcome // Completed by default
}

// selections runs the cases; in specs and annotations, too, APP stands for the
// namespace.
func (f *fixture) selections(cases []selectionCase) {
	for _, c := range cases {
		f.t.Run(c.name, func(t *testing.T) {
			f := f.in(t)
			for _, list := range []*[]string{
				&c.spec.IncludedNamespaces, &c.spec.ExcludedNamespaces, &c.spec.IncludedResources, &c.spec.ExcludedResources,
				&c.spec.IncludedNamespaceScopedResources, &c.spec.ExcludedNamespaceScopedResources,
			} {
				*list = f.named(*list)
			}
			annotations := map[string]string{}
			for key, value := range c.annotations {
				annotations[key] = strings.ReplaceAll(value, "APP", f.app)
			}
			f.annotated(c.name, c.spec, annotations)
			summary, _ := f.run(c.name, nil)
			if want := orElse(c.outcome, report.Completed); summary.Outcome != want {
				t.Errorf("summary %+v, want %s", summary, want)
			}
			f.expectMine(c.name, c.want)
		})
	}
}

func orElse(outcome, other report.Outcome) report.Outcome {
	if outcome == "" {
		return other
	}
	return outcome
}

// named puts the fixture's namespace into patterns.
func (f *fixture) named(patterns []string) []string {
	var out []string
	for _, p := range patterns {
		out = append(out, strings.ReplaceAll(p, "APP", f.app))
	}
	return out
}

func newWorld(t *testing.T) *fixture {
	f := newFixture(t)
	f.manifests(world)
	return f
}

func TestSelectionByNamespace(t *testing.T) {
	newWorld(t).selections([]selectionCase{
		{name: "no-filter", want: nsApp + nsB + nsEmpty + wApp + wB + wCluster},
		{name: "star", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"*"}}, want: nsApp + nsB + nsEmpty + wApp + wB + wCluster},
		{name: "literal", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP"}}, want: nsApp + wApp + wCRD},
		{name: "two", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-b", "APP-empty"}}, want: nsB + nsEmpty + wB},
		{name: "glob-star", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-*"}}, want: nsB + nsEmpty + wB},
		{name: "glob-question", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-?"}}, want: nsB + wB},
		{name: "glob-set", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-[a-b]"}}, want: nsB + wB},
		{name: "glob-set-misses", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-[cd]"}}, outcome: report.PartiallyFailed},
		{name: "exclude", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP*"}, ExcludedNamespaces: []string{"APP-b"}}, want: nsApp + nsEmpty + wApp + wCRD},
		{name: "exclude-glob", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP*"}, ExcludedNamespaces: []string{"APP-*"}}, want: nsApp + wApp + wCRD},
		{name: "exclude-only", spec: velerov1.BackupSpec{ExcludedNamespaces: []string{"APP"}}, want: nsB + nsEmpty + wB},
		{name: "missing", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-b", "APP-gone"}}, want: nsB + wB, outcome: report.PartiallyFailed},
	})
}

func TestSelectionByOlderFilters(t *testing.T) {
	yes, no := true, false
	app := []string{"APP"}
	newWorld(t).selections([]selectionCase{
		{name: "kinds", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"configmaps", "deployments.apps"}}, want: wConfig + wDeploy},
		{name: "short-names", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"cm", "deploy", "APP-gdt"}}, want: wConfig + wDeploy + wGadget + wCRD},
		{name: "singulars", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"configmap", "APP-gadget"}}, want: wConfig + wGadget + wCRD},
		{name: "glob-group", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"*.apps"}}, want: wDeploy},
		{name: "excluded", spec: velerov1.BackupSpec{IncludedNamespaces: app, ExcludedResources: []string{"secrets", "gadgets.APP.example.com"}}, want: nsApp + wConfig + wDeploy},
		{name: "both-lists", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"*"}, ExcludedResources: []string{"secret", "deploy"}}, want: nsApp + wConfig + wGadget + wCRD},
		{name: "all-namespaces", spec: velerov1.BackupSpec{IncludedResources: []string{"configmaps", "storageclasses"}}, want: wConfig + "configmaps=APP-b/one " + wClass},
		{name: "cluster-true", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludeClusterResources: &yes}, want: nsApp + wApp + wCluster},
		{name: "cluster-false", spec: velerov1.BackupSpec{IncludeClusterResources: &no}, want: nsApp + nsB + nsEmpty + wApp + wB},
		{name: "cluster-true-kinds", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"configmaps", "sc"}, IncludeClusterResources: &yes}, want: wConfig + wClass},
		{name: "mixed", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedResources: []string{"configmaps", "nosuchthings"}}, want: wConfig},
	})
}

func TestSelectionByNewerFilters(t *testing.T) {
	app := []string{"APP"}
	newWorld(t).selections([]selectionCase{
		{name: "namespaced", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedNamespaceScopedResources: []string{"configmaps", "APP-gdt"}}, want: nsApp + wConfig + wGadget + wCRD},
		{name: "namespaced-excluded", spec: velerov1.BackupSpec{IncludedNamespaces: app, ExcludedNamespaceScopedResources: []string{"secret", "deploy"}}, want: nsApp + wConfig + wGadget + wCRD},
		{name: "cluster", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedClusterScopedResources: []string{"storageclasses", "pc"}}, want: nsApp + wApp + wClass + wPrio + wCRD},
		{name: "cluster-star", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedClusterScopedResources: []string{"*"}}, want: nsApp + wApp + wCluster},
		{name: "cluster-excluded", spec: velerov1.BackupSpec{ExcludedClusterScopedResources: []string{"storageclasses", "clusterroles"}}, want: nsApp + nsB + nsEmpty + wApp + wB + wCRD + wPrio},
		{name: "only-cluster", spec: velerov1.BackupSpec{IncludedClusterScopedResources: []string{"storageclasses"}, ExcludedNamespaceScopedResources: []string{"*"}}, want: nsApp + nsB + nsEmpty + wClass},
		{name: "both", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedNamespaceScopedResources: []string{"cm"}, ExcludedClusterScopedResources: []string{"*"}}, want: nsApp + wConfig},
		{name: "wrong-scope", spec: velerov1.BackupSpec{IncludedNamespaces: app, IncludedClusterScopedResources: []string{"deployments", "storageclasses"}, IncludedNamespaceScopedResources: []string{"cm", "storageclasses"}}, want: nsApp + wConfig + wClass},
	})
}

func TestSelectionByLabels(t *testing.T) {
	f := newWorld(t)
	web := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	db := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"db"}}}}
	set := &metav1.LabelSelector{MatchLabels: map[string]string{"set": f.app}}
	webMaps := "configmaps=APP/one configmaps=APP-b/one "
	f.selections([]selectionCase{
		{name: "one", spec: velerov1.BackupSpec{LabelSelector: web}, want: nsApp + nsB + webMaps + wDeploy + wRole},
		{name: "in-namespace", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP"}, LabelSelector: web}, want: nsApp + "configmaps=APP/one " + wDeploy},
		{name: "or", spec: velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{web, db, set}}, want: nsApp + nsB + webMaps + "configmaps=APP/two secrets=APP/db-main " + wDeploy + wRole},
		{name: "or-kind", spec: velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{db, set}, IncludedResources: []string{"configmaps"}}, want: webMaps + "configmaps=APP/two "},
		{name: "namespace-label", spec: velerov1.BackupSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": f.app + "-b"}}}, want: nsB},
		{name: "no-match", spec: velerov1.BackupSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "nobody"}}}, outcome: report.PartiallyFailed},
	})
}

func TestSelectionByName(t *testing.T) {
	include := func(patterns string) map[string]string {
		return map[string]string{velerov1.IncludeObjectsAnnotation: patterns}
	}
	exclude := func(patterns string) map[string]string {
		return map[string]string{velerov1.ExcludeObjectsAnnotation: patterns}
	}
	app := []string{"APP"}
	newWorld(t).selections([]selectionCase{
		{name: "literal", annotations: include("APP/deploy/web"), want: nsApp + wDeploy},
		{name: "several", annotations: include("APP/deploy/web,APP/secret/db-main, APP-b/cm/one"), want: nsApp + nsB + wDeploy + "secrets=APP/db-main configmaps=APP-b/one "},
		{name: "glob-name", annotations: include("APP/secret/db-*"), want: nsApp + wSecrets},
		{name: "glob-namespace", annotations: include("APP*/configmaps/one"), want: nsApp + nsB + "configmaps=APP/one configmaps=APP-b/one "},
		{name: "cluster-scoped", annotations: include("storageclass/APP-class,clusterrole/APP-*"), want: wClass + wRole},
		{name: "custom", annotations: include("APP/APP-gdt/gear"), want: nsApp + wGadget + wCRD},
		{name: "excluded", spec: velerov1.BackupSpec{IncludedNamespaces: app}, annotations: exclude("APP/secret/db-*,APP/cm/two,crd/gadgets.APP.example.com"), want: nsApp + "configmaps=APP/one " + wDeploy + wGadget},
		{name: "both", annotations: map[string]string{velerov1.IncludeObjectsAnnotation: "APP/secret/*", velerov1.ExcludeObjectsAnnotation: "APP/secret/db-copy"}, want: nsApp + "secrets=APP/db-main "},
		{name: "and-filter", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP-b"}}, annotations: include("APP*/configmaps/one"), want: nsB + "configmaps=APP-b/one "},
		{name: "excluded-label", annotations: include("APP/cm/hidden,APP/cm/one"), want: nsApp + "configmaps=APP/one "},
		{name: "missing", annotations: include("APP/cm/one,APP/cm/nosuch"), want: nsApp + "configmaps=APP/one ", outcome: report.PartiallyFailed},
	})
}

func TestSelectionByNameIsCheckedBeforeTheBackup(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, c := range map[string]struct{ pattern, want string }{
		"no-slash":        {"web", `"web"`},
		"unknown-kind":    {f.app + "/nosuch/web", "nosuch"},
		"no-namespace":    {"deploy/web", "deploy/web"},
		"namespace-given": {f.app + "/storageclass/x", "storageclass/x"},
		"bad-glob":        {f.app + "/cm/[", "["},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			f.annotated(name, velerov1.BackupSpec{}, map[string]string{velerov1.IncludeObjectsAnnotation: c.pattern})
			_, after := f.run(name, nil)
			problems := strings.Join(after.Status.ValidationErrors, "; ")
			if after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(problems, c.want) {
				t.Errorf("phase %s, problems %q", after.Status.Phase, problems)
			}
		})
	}
}

func TestInvalidSelectionsAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	labels := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for name, c := range map[string]struct {
		spec velerov1.BackupSpec
		want []string
	}{
		"families":        {velerov1.BackupSpec{IncludedResources: []string{"pods"}, IncludedClusterScopedResources: []string{"sc"}}, []string{"includedResources", "includedClusterScopedResources"}},
		"selectors":       {velerov1.BackupSpec{LabelSelector: labels, OrLabelSelectors: []*metav1.LabelSelector{labels}}, []string{"labelSelector", "orLabelSelectors"}},
		"star-and-more":   {velerov1.BackupSpec{IncludedResources: []string{"*", "pods"}}, []string{"includedResources"}},
		"star-excluded":   {velerov1.BackupSpec{ExcludedNamespaces: []string{"*"}}, []string{"excludedNamespaces"}},
		"in-both":         {velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, ExcludedNamespaces: []string{f.app}}, []string{f.app}},
		"bad-pattern":     {velerov1.BackupSpec{IncludedNamespaces: []string{"a**b"}}, []string{"a**b"}},
		"several-at-once": {velerov1.BackupSpec{IncludedNamespaces: []string{"a|b"}, LabelSelector: labels, OrLabelSelectors: []*metav1.LabelSelector{labels}, StorageLocation: "nope"}, []string{"a|b", "orLabelSelectors", "nope"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			f.add(name, c.spec)
			_, after := f.run(name, nil)
			problems := strings.Join(after.Status.ValidationErrors, "; ")
			for _, want := range c.want {
				if after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(problems, want) {
					t.Errorf("phase %s, problems %q lack %q", after.Status.Phase, problems, want)
				}
			}
		})
	}
}

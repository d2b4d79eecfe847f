//go:build integration

package backup_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// policy stores resource policies and returns a reference to them.
func (f *fixture) policy(name, text string) *corev1.TypedLocalObjectReference {
	f.t.Helper()
	f.create("configmaps", f.velero, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.velero}, Data: map[string]string{"policies.yaml": strings.ReplaceAll(text, "APP", f.app)}})
	return &corev1.TypedLocalObjectReference{Kind: "configmap", Name: name}
}

func TestF16PolicyDecidesAboutVolumeData(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	no, yes := false, true
	for name, c := range map[string]struct {
		action    string
		snapshots *bool
		want      report.Outcome
	}{
		"skip":              {"skip", nil, report.Completed},
		"skip-asked":        {"skip", &yes, report.Completed},
		"snapshot":          {"snapshot", nil, report.PartiallyFailed},
		"snapshot-although": {"snapshot", &no, report.PartiallyFailed},
		"fs-backup":         {"fs-backup", &no, report.PartiallyFailed},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			_, after := f.backUp(name, c.want, velerov1.BackupSpec{
				IncludedNamespaces: []string{f.app}, SnapshotVolumes: c.snapshots,
				ResourcePolicy: f.policy(name, "version: v1\nvolumePolicies:\n- conditions: {}\n  action: {type: "+c.action+"}\n"),
			})
			if after.Status.Warnings != 0 {
				warnings, _ := f.results(name)
				t.Errorf("warnings %q", warnings)
			}
			// The objects are stored, whatever becomes of the data.
			for _, item := range []string{"persistentvolumeclaims " + f.app + "/data", "persistentvolumes /" + f.app + "-data", "pods " + f.app + "/web"} {
				if !slices.Contains(f.items(name), item) {
					t.Errorf("%s isn't stored", item)
				}
			}
		})
	}
}

func TestF17FirstMatchingPolicyWins(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	const order = `version: v1
volumePolicies:
- conditions: {storageClass: [somebody-elses]}
  action: {type: fs-backup}
- conditions: {capacity: "0,5Gi", storageClass: [APP-class]}
  action: {type: skip}
- conditions: {}
  action: {type: snapshot}
`
	f.backUp("first", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, ResourcePolicy: f.policy("first", order)})
	f.backUp("second", report.PartiallyFailed, velerov1.BackupSpec{
		IncludedNamespaces: []string{f.app}, ResourcePolicy: f.policy("second", strings.Replace(order, "0,5Gi", "5Gi,", 1)),
	})
	f.manifests("# persistentvolumeclaims\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: waiting, namespace: APP}, spec: {accessModes: [ReadWriteOnce], storageClassName: other, resources: {requests: {storage: 9Gi}}}}")
	f.patchStatus(claims, f.app, "waiting", `{"phase":"Pending"}`)
	f.backUp("pending", report.Completed, velerov1.BackupSpec{
		IncludedNamespaces: []string{f.app},
		ResourcePolicy:     f.policy("pending", "version: v1\nvolumePolicies:\n- conditions: {pvcPhase: [Pending]}\n  action: {type: skip}\n- conditions: {}\n  action: {type: skip}\n"),
	})
}

func TestF17InvalidPoliciesAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	head := "version: v1\nvolumePolicies:\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"capacity":   {head + "- conditions: {capacity: 5Gi}\n  action: {type: skip}\n", []string{"capacity", "line 3"}},
		"attributes": {head + "- conditions: {csi: {volumeAttributes: {a: b}}}\n  action: {type: skip}\n", []string{"driver", "line 3"}},
		"action":     {head + "- conditions: {}\n  action: {type: copy}\n", []string{"copy", "line 4"}},
		"unknown":    {head + "- condition: {}\n  action: {type: skip}\n", []string{"condition", "line 3"}},
		"version":    {"version: v2\n", []string{"v2", "line 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			f.add(name, velerov1.BackupSpec{ResourcePolicy: f.policy(name, c.text)})
			_, after := f.run(name, nil)
			problems := strings.Join(after.Status.ValidationErrors, "; ")
			for _, want := range c.want {
				if after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(problems, want) {
					t.Errorf("phase %s, problems %q lack %q", after.Status.Phase, problems, want)
				}
			}
		})
	}
	f.add("missing", velerov1.BackupSpec{ResourcePolicy: &corev1.TypedLocalObjectReference{Kind: "ConfigMap", Name: "nosuch"}})
	if _, after := f.run("missing", nil); after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(strings.Join(after.Status.ValidationErrors, ""), "nosuch") {
		t.Errorf("status %+v", after.Status)
	}
}

// A policy's own filters come after those of the spec.
func TestPolicyFiltersAreAddedToTheSelection(t *testing.T) {
	t.Parallel()
	f := newWorld(t)
	ref := f.policy("filters", "version: v1\nincludeExcludePolicy:\n  excludedNamespaceScopedResources: [secrets, configmap]\n  includedClusterScopedResources: [storageclasses]\n")
	f.selections([]selectionCase{
		{name: "policy", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP"}, ResourcePolicy: ref}, want: nsApp + wDeploy + wGadget + wCRD + wClass},
		{name: "spec-wins", spec: velerov1.BackupSpec{IncludedNamespaces: []string{"APP"}, IncludedNamespaceScopedResources: []string{"secrets"}, ResourcePolicy: ref}, want: nsApp + wSecrets + wClass},
	})
	f.add("older", velerov1.BackupSpec{IncludedResources: []string{"secrets"}, ResourcePolicy: ref})
	if _, after := f.run("older", nil); after.Status.Phase != velerov1.BackupPhaseFailedValidation {
		t.Errorf("phase %s with older filters and includeExcludePolicy", after.Status.Phase)
	}
}

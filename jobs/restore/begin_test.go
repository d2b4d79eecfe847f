package restore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	with := func(change func(*velerov1.RestoreSpec)) velerov1.RestoreSpec {
		spec := velerov1.RestoreSpec{BackupName: "shop"}
		change(&spec)
		return spec
	}
	for _, tc := range []struct {
		name string
		spec velerov1.RestoreSpec
		want []string
	}{
		{"fine", with(func(*velerov1.RestoreSpec) {}), nil},
		{"no source", velerov1.RestoreSpec{}, []string{"Either a backup or schedule must be specified as a source for the restore, but not both"}},
		{"two sources", with(func(s *velerov1.RestoreSpec) { s.ScheduleName = "daily" }), []string{"Either a backup or schedule must be specified as a source for the restore, but not both"}},
		{"never restored", with(func(s *velerov1.RestoreSpec) { s.IncludedResources = []string{"nodes"} }), []string{"includedResources: nodes are non-restorable resources"}},
		{"policy", with(func(s *velerov1.RestoreSpec) { s.ExistingResourcePolicy = "replace" }), []string{`existingResourcePolicy: "replace" is neither none nor update`}},
		{"not in this version", with(func(s *velerov1.RestoreSpec) {
			s.ResourceModifier = &corev1.TypedLocalObjectReference{Kind: "ConfigMap", Name: "m"}
			s.Hooks.Resources = []velerov1.RestoreResourceHookSpec{{Name: "h"}}
		}), []string{
			"hooks: this version can't do that; hint: leave spec.hooks out",
			"resourceModifier: this version can't do that; hint: leave spec.resourceModifier out",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, validate(tc.spec)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	both := velerov1.RestoreSpec{
		BackupName: "shop", LabelSelector: &metav1.LabelSelector{}, OrLabelSelectors: []*metav1.LabelSelector{{}},
	}
	if len(validate(both)) == 0 {
		t.Error("labelSelector beside orLabelSelectors was accepted")
	}
}

func TestBegun(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[string]bool{"": false, "0": false, "1": true, "2": true, "x": false} {
		restore := &velerov1.Restore{}
		restore.Annotations = map[string]string{velerov1.AttemptAnnotation: attempt}
		if got := begun(restore); got != want {
			t.Errorf("begun with attempt %q = %t, want %t", attempt, got, want)
		}
	}
}

package restore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
		{"never restored", with(func(s *velerov1.RestoreSpec) { s.IncludedResources = []string{"nodes"} }), []string{"includedResources: nodes are non-restorable resources"}},
		{"policy", with(func(s *velerov1.RestoreSpec) { s.ExistingResourcePolicy = "replace" }), []string{`existingResourcePolicy: "replace" is neither none, update nor recreate`}},
		{"hook without command", with(func(s *velerov1.RestoreSpec) {
			s.Hooks.Resources = []velerov1.RestoreResourceHookSpec{{Name: "h", PostHooks: []velerov1.RestoreResourceHook{{Exec: &velerov1.ExecRestoreHook{}}}}}
		}), []string{"hooks.resources[0].postHooks[0].exec.command: names no program"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, problemsOf(tc.spec, nil)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	both := velerov1.RestoreSpec{
		BackupName: "shop", LabelSelector: &metav1.LabelSelector{}, OrLabelSelectors: []*metav1.LabelSelector{{}},
	}
	if len(problemsOf(both, nil)) == 0 {
		t.Error("labelSelector beside orLabelSelectors was accepted")
	}
}

// problemsOf are those of a Restore.
func problemsOf(spec velerov1.RestoreSpec, annotations map[string]string) []string {
	restore := &velerov1.Restore{Spec: spec}
	restore.Annotations = annotations
	return newOperation(Config{}, restore).parse()
}

func TestAnnotationsAreRead(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        []string
	}{
		"fine": {map[string]string{
			velerov1.IncludeObjectsAnnotation: "shop/deploy/web, shop/secret/*", velerov1.RetryForAnnotation: "5m",
			velerov1.ResourcePrioritiesAnnotation: "secrets, configmaps, -, widgets",
		}, nil},
		"divided twice": {map[string]string{velerov1.ResourcePrioritiesAnnotation: "a,-,b,-"}, []string{`restore-resource-priorities: "-" divides the list once`}},
		"empty name":    {map[string]string{velerov1.ResourcePrioritiesAnnotation: "a,,b"}, []string{"restore-resource-priorities: a name is empty"}},
		"no duration":   {map[string]string{velerov1.RetryForAnnotation: "soon"}, []string{`retry-for: "soon" is no duration such as 60s`}},
		"negative":      {map[string]string{velerov1.RetryForAnnotation: "-1s"}, []string{`retry-for: "-1s" is no duration such as 60s`}},
		"both families": {map[string]string{velerov1.IncludedClusterScopedResourcesAnnotation: "*"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, problemsOf(velerov1.RestoreSpec{BackupName: "shop"}, tc.annotations)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

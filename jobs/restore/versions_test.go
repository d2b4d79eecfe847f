package restore

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// An archive with several versions of a kind is restored in one of them; its
// index is right about it all the same.
func TestIndexOfSeveralVersionsAgreesWithOne(t *testing.T) {
	t.Parallel()
	hpas := schema.GroupResource{Group: "autoscaling", Resource: "horizontalpodautoscalers"}
	index := &archive.Index{Members: []archive.Member{
		{Resource: hpas.String(), Version: "v2", Preferred: true, Objects: 2, First: "a/x", Last: "b/y"},
		{Resource: hpas.String(), Version: "v1", Objects: 2, First: "a/x", Last: "b/y"},
	}}
	for folder, version := range map[string]string{"": "v2", "v1": "v1"} {
		told, found := listed(index), newContents()
		told.keep(map[schema.GroupResource]string{hpas: folder})
		for _, namespace := range []string{"a", "b"} {
			found.count(archive.Item{Resource: hpas, Version: folder, Namespace: namespace, Name: "x"}, told.versionsOf()[hpas])
		}
		if got := told.versionsOf()[hpas]; got != version || !found.agrees(told) {
			t.Errorf("folder %q: version %q, want %q; agrees: %t", folder, got, version, found.agrees(told))
		}
	}
}

func TestChooseVersion(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wishes []string
		stored map[string]bool // true: the source's preferred one
		served []string        // the first is the target's preferred one
		want   string
	}{
		"a wish that both have":            {[]string{"v3", "v1"}, map[string]bool{"v1": false, "v2": true}, []string{"v2", "v1"}, "v1"},
		"a wish that one lacks":            {[]string{"v3"}, map[string]bool{"v2": true}, []string{"v3", "v2"}, "v2"},
		"what the target prefers":          {nil, map[string]bool{"v1": true, "v2": false}, []string{"v2", "v1"}, "v2"},
		"what the source preferred":        {nil, map[string]bool{"v1": true, "v1beta1": false}, []string{"v2", "v1beta1", "v1"}, "v1"},
		"the highest that both have":       {nil, map[string]bool{"v3": true, "v1": false, "v2beta1": false, "v1beta1": false}, []string{"v4", "v1beta1", "v2beta1", "v1"}, "v1"},
		"nothing in common":                {nil, map[string]bool{"v1": true}, []string{"v2"}, ""},
		"a kind that the target lacks":     {nil, map[string]bool{"v1": true}, nil, ""},
		"a kind that is in one version":    {nil, map[string]bool{"v1": true}, []string{"v1"}, "v1"},
		"a wish beats what both preferred": {[]string{"v1beta1"}, map[string]bool{"v1": true, "v1beta1": false}, []string{"v1", "v1beta1"}, "v1beta1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chooseVersion(tc.wishes, tc.stored, tc.served); got != tc.want {
				t.Errorf("chooseVersion = %q, want %q", got, tc.want)
			}
		})
	}
}

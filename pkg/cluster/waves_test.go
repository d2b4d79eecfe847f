package cluster

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func names(waves []Wave) []string {
	var all []string
	for _, w := range waves {
		all = append(all, w.Name)
	}
	return all
}

func TestWavesWithWishes(t *testing.T) {
	t.Parallel()
	gr := schema.ParseGroupResource
	standard := names(Waves())
	if diff := cmp.Diff(standard, names(WavesWith(nil, nil))); diff != "" {
		t.Errorf("without wishes (-want +got):\n%s", diff)
	}
	got := WavesWith(
		[]schema.GroupResource{gr("widgets.example.com"), gr("secrets"), gr("namespaces"), gr("secrets")},
		[]schema.GroupResource{gr("pods"), gr("apiservices.apiregistration.k8s.io")})
	want := slices.Concat(standard[:1], []string{"widgets.example.com", "secrets"},
		slices.DeleteFunc(slices.Clone(standard[1:len(standard)-1]), func(name string) bool { return name == "pods" }),
		[]string{"pods"}, standard[len(standard)-1:])
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("waves (-want +got):\n%s", diff)
	}
	for resource, wave := range map[string]string{
		"widgets.example.com": "widgets.example.com", "secrets": "secrets", "pods": "pods", "configmaps": "claims and configuration",
		"gadgets.example.com": "everything else", "namespaces": "definitions and namespaces",
	} {
		if got := got[WaveOf(got, gr(resource))].Name; got != wave {
			t.Errorf("%s is in wave %q, want %q", resource, got, wave)
		}
	}
}

package restore

import "testing"

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

package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseFilesystem(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		config  map[string]string
		want    Filesystem
		wantErr string
	}{
		"claim":         {map[string]string{"persistentVolumeClaim": "backups"}, Filesystem{"backups", 65532}, ""},
		"group":         {map[string]string{"persistentVolumeClaim": "b", "fsGroup": "1000660000"}, Filesystem{"b", 1000660000}, ""},
		"no group":      {map[string]string{"persistentVolumeClaim": "b", "fsGroup": "none"}, Filesystem{"b", 0}, ""},
		"default group": {map[string]string{"persistentVolumeClaim": "b", "fsGroup": ""}, Filesystem{"b", 65532}, ""},

		"nothing":   {nil, Filesystem{}, `config key "persistentVolumeClaim" is missing; hint: set it`},
		"empty":     {map[string]string{"persistentVolumeClaim": ""}, Filesystem{}, "is missing"},
		"path":      {map[string]string{"persistentVolumeClaim": "a/b"}, Filesystem{}, `"a/b" is no name of a PersistentVolumeClaim`},
		"group 0":   {map[string]string{"persistentVolumeClaim": "b", "fsGroup": "0"}, Filesystem{}, `"0" is not the number of a group`},
		"bad group": {map[string]string{"persistentVolumeClaim": "b", "fsGroup": "-1"}, Filesystem{}, `"-1" is not the number of a group; hint:`},
		"misspelt":  {map[string]string{"persistentvolumeClaim": "b"}, Filesystem{}, `hint: did you mean "persistentVolumeClaim"?`},
		"S3's":      {map[string]string{"persistentVolumeClaim": "b", "region": "x"}, Filesystem{}, `unknown config key "region"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseFilesystem(c.config)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("got %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if err := Check("filesystem", c.config); err != nil {
				t.Error(err)
			}
		})
	}
}

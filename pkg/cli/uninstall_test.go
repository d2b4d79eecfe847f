package cli

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

// TestUninstallAsks covers the question itself; what is deleted is package install's.
func TestUninstallAsks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		input   string
		removal install.Removal
		want    string // the error
		shows   string
	}{
		"yes":       {"y\n", install.Removal{}, "", "Continue? [y/N] "},
		"yes, long": {" YES \n", install.Removal{}, "", "Continue? [y/N] "},
		"no":        {"n\n", install.Removal{}, "uninstall was not confirmed; nothing was changed", "Continue? [y/N] "},
		"nothing":   {"", install.Removal{}, "uninstall was not confirmed; nothing was changed", "Continue? [y/N] "},
		"what stays": {"y\n", install.Removal{Claims: []install.HeldClaim{{Name: "disk", Location: "default", Volume: "pv-1", Backups: 3}}}, "",
			`PersistentVolumeClaim "disk" holds the backups of location "default" (3 known): its volume "pv-1" stays, and they with it.`},
		"what is lost": {"y\n", install.Removal{DeleteVolumes: true, Claims: []install.HeldClaim{{Name: "disk", Location: "default", Volume: "pv-1", Backups: 3}}}, "",
			`(3 known): they are DELETED with its volume "pv-1".`},
		"nothing in it": {"y\n", install.Removal{Claims: []install.HeldClaim{{Name: "disk", Location: "default"}}}, "", "has no volume: there is nothing in it."},
		"what is busy":  {"y\n", install.Removal{Running: []string{"backup/shop"}}, "", "warning: still running, and to be cut off: backup/shop\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var errOut bytes.Buffer
			f := newFactory(genericiooptions.IOStreams{In: strings.NewReader(test.input), Out: &bytes.Buffer{}, ErrOut: &errOut}, "kubectl-velero")
			o := uninstallOptions{f: f}
			got := ""
			if err := o.confirm(t.Context(), &test.removal); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("error: got %q, want %q", got, test.want)
			}
			if !strings.Contains(errOut.String(), test.shows) {
				t.Errorf("shows %q, want in it %q", errOut.String(), test.shows)
			}
		})
	}
}

func TestUninstallNeedsATerminal(t *testing.T) {
	t.Parallel()
	f := newFactory(genericiooptions.IOStreams{In: strings.NewReader("y\n"), Out: &bytes.Buffer{}, ErrOut: &bytes.Buffer{}}, "kubectl-velero")
	o := uninstallOptions{f: f}
	want := "uninstall asks before it deletes, and there is no terminal to ask on; hint: --force"
	if err := o.run(t.Context()); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

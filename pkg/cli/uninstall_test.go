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
		"yes":          {"y\n", install.Removal{}, "", "Continue? [y/N] "},
		"yes, long":    {" YES \n", install.Removal{}, "", "Continue? [y/N] "},
		"no":           {"n\n", install.Removal{}, "uninstall was not confirmed; nothing was changed", "Continue? [y/N] "},
		"nothing":      {"", install.Removal{}, "uninstall was not confirmed; nothing was changed", "Continue? [y/N] "},
		"what is busy": {"y\n", install.Removal{Running: []string{"backup/shop"}}, "", "warning: still running, and to be cut off: backup/shop\n"},
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

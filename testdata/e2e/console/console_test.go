package console_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

func TestRunPrintsCommandAndOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := console.Console{Dir: t.TempDir(), Env: os.Environ(), Out: &out}
	if err := c.Run(t.Context(), "sh", "-c", "echo it's done"); err == nil {
		t.Error("an unbalanced quote is no error")
	}
	out.Reset()
	if err := c.Run(t.Context(), "echo", "it's", "done"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("$ echo 'it'\\''s' done\nit's done\n", out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	c := console.Console{Env: os.Environ(), Quiet: true}
	err := c.Run(t.Context(), "sh", "-c", "echo why >&2; exit 3")
	var failed *console.CommandError
	if !errors.As(err, &failed) || failed.Result.Code != 3 {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff("sh -c 'echo why >&2; exit 3': exit status 3\nwhy", err.Error()); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestTryWithoutCommand(t *testing.T) {
	t.Parallel()
	c := console.Console{Env: []string{"PATH=/nowhere"}, Quiet: true}
	_, err := c.Try(t.Context(), "velero")
	if err == nil || err.Error() != `command "velero" isn't on the PATH` {
		t.Errorf("error %v", err)
	}
}

func TestTryCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := console.Console{Env: os.Environ(), Quiet: true}
	if _, err := c.Try(ctx, "sleep", "60"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

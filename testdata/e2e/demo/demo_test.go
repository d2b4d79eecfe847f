package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

func TestRunSaysWhichStepFailedWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := Run(t.Context(), Options{
		Tree:     workspace.Tree{Root: t.TempDir(), State: t.TempDir()},
		Provider: provider.Options{Name: "x", Kubeconfig: "/nowhere/config"},
		Out:      &out,
	})
	if !errors.Is(err, provider.ErrImageRepo) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"step 1, find a cluster: ", "\nhint: see the message; start over with `make demo-clean demo`"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error has no %q:\n%v", want, err)
		}
	}
	if !strings.Contains(out.String(), "== 1/8: find a cluster\n") {
		t.Errorf("output:\n%s", out.String())
	}
}

func TestStepErrorWhenInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := stepError(ctx, 2, step{title: "build"}, &demo{}, errors.New("exit status 1"))
	want := "step 2, build: interrupted\nhint: `make demo` goes on from any state, `make demo-clean` ends what was started"
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

func TestCleanWithoutDemo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := Clean(t.Context(), Options{Tree: workspace.Tree{State: t.TempDir()}, Provider: provider.Options{Name: "x"}, Out: &out})
	if err != nil || out.String() != "There is no demo to clean up.\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestRemoveBackupThatCannotBeDeleted has a backup whose data is gone.
func TestRemoveBackupThatCannotBeDeleted(t *testing.T) {
	t.Parallel()
	const kubectl = `#!/bin/sh
case "$*" in
"velero backup delete shop --confirm") exit 1 ;;
*" get "*) echo backup.velero.io/shop ;;
esac
`
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "kubectl"), []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		hostAddress string
		last        string // command
		fails       bool
	}{
		"server in the cluster":  {"", "$ kubectl -n velero delete backups.velero.io shop --ignore-not-found\n", false},
		"server on this machine": {"192.0.2.1", "$ kubectl velero backup delete shop --confirm\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			d := &demo{
				cluster: &provider.Cluster{HostAddress: test.hostAddress},
				console: &console.Console{Dir: folder, Env: []string{"PATH=" + folder}, Out: &out},
			}
			if err := d.removeBackup(t.Context()); (err != nil) != test.fails {
				t.Errorf("error %v", err)
			}
			if !strings.HasSuffix(out.String(), test.last) {
				t.Errorf("output has no %q at its end:\n%s", test.last, out.String())
			}
		})
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if _, err := readRecord(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a record: %v", err)
	}
	want := record{Kind: provider.Foreign, Name: "context x", Kubeconfig: "/home/me/.kube/config"}
	if err := want.write(folder); err != nil {
		t.Fatal(err)
	}
	got, err := readRecord(folder)
	if err != nil || got != want {
		t.Errorf("read %+v, %v", got, err)
	}
}

//go:build integration

package cli_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// plugin is the name under which the test binary is the plugin itself.
const plugin = "kubectl-velero"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == plugin {
		os.Exit(runPlugin())
	}
	testenv.Main(m)
}

// runPlugin does what the plugin's main does.
func runPlugin() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := cli.NewCommand(streams).ExecuteContext(ctx)
	cli.PrintError(os.Stderr, err)
	return cli.ExitCode(err)
}

// TestScripts runs the user stories of testdata/script against a real API
// server. Each has a namespace of its own, $VELERO_NAMESPACE, and finds kubectl
// and the plugin on its PATH. No controllers run: a Job never gets a pod.
func TestScripts(t *testing.T) {
	kubeconfig := testenv.Kubeconfig(t)
	path := programs(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			story := strings.TrimSuffix(filepath.Base(env.WorkDir), ".txtar")
			namespace := "v-" + strings.ReplaceAll(strings.TrimPrefix(story, "script-"), "_", "-")
			env.Setenv("KUBECONFIG", kubeconfig)
			env.Setenv("VELERO_NAMESPACE", namespace)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("PATH", path+string(os.PathListSeparator)+env.Getenv("PATH"))
			return nil
		},
	})
}

// programs makes a folder with the plugin, and gives a PATH with it and kubectl.
func programs(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, plugin)); err != nil {
		t.Fatal(err)
	}
	state, err := testenv.StateFolder()
	if err != nil {
		t.Fatal(err)
	}
	return dir + string(os.PathListSeparator) + filepath.Join(state, "bin")
}

// exits runs a program and asks for an exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s: exit code %s, want %s", fmt.Sprint(args[1:]), got, args[0])
	}
}

//go:build integration

package restore_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// childCommand makes the test binary a process that carries out one restore, so
// that a test can kill it.
const childCommand = "restore-in-a-process-of-its-own"

// child starts the restore in a process of its own.
func (w *world) child(name string) *exec.Cmd {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	child := exec.CommandContext(w.t.Context(), self, childCommand, w.velero, w.kubeconfig, w.location.CredentialsFile, name)
	w.must(child.Start())
	return child
}

func runChild(args []string) int {
	ctx, cancel, env, err := run.Start(context.Background(), run.Options{Namespace: args[0], Kubeconfig: args[1], CredentialsFile: args[2]}, "restore", args[3])
	if err == nil {
		defer cancel()
		_, err = restore.Run(ctx, restore.Config{Env: env, Name: args[3]})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A restore that is killed in the middle and started again ends as one that
// wasn't.
func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	const objects = 300
	w := newWorld(t)
	manifests := []string{
		`{apiVersion: v1, kind: Namespace, metadata: {name: src, labels: {team: x}}}`,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: src}}`,
		`{apiVersion: v1, kind: Service, metadata: {name: web, namespace: src}, spec: {type: NodePort, ports: [{port: 80}]}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: src}, spec: {serviceAccountName: web, containers: [{name: c, image: x}]}}`,
	}
	for n := range objects {
		manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: src}, data: {a: b}}`, n))
	}
	w.putBackup("b", manifests...)
	// The webhook holds the 100th object until the process is dead.
	reached, dead := make(chan struct{}), make(chan struct{})
	defer sync.OnceFunc(func() { close(dead) })()
	var mu sync.Mutex
	asked := 0
	w.webhook(func(kind, name string) string {
		if name == probe {
			return probe
		}
		if kind != "ConfigMap" {
			return ""
		}
		mu.Lock()
		asked++
		held := asked == objects/3
		mu.Unlock()
		if held {
			close(reached)
			<-dead
			return "the one who asked is dead"
		}
		return ""
	})
	spec := velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{"src": w.app}}
	w.addRestore("r", spec)
	child := w.child("r")
	<-reached
	w.must(child.Process.Kill())
	_ = child.Wait() // it was killed
	between := len(w.configMaps())
	if between == 0 || between >= objects {
		t.Fatalf("%d objects were restored when it was killed: not the middle", between)
	}
	after, err := w.client.Restores(w.velero).Get(t.Context(), "r", metav1.GetOptions{})
	w.must(err)
	if after.Status.Phase != velerov1.RestorePhaseInProgress {
		t.Errorf("phase of a killed restore: %s", after.Status.Phase)
	}

	summary, after := w.run("r", func(c *restore.Config) { c.Attempt = 2 })
	if summary.Outcome != report.Completed || summary.Warnings != 0 || after.Status.Progress.ItemsRestored != after.Status.Progress.TotalItems {
		t.Fatalf("second attempt: %+v, %+v", summary, w.results("r"))
	}
	if got := len(w.configMaps()); got != objects {
		t.Errorf("%d ConfigMaps are there, want %d", got, objects)
	}
	// Beside it one that nobody disturbs.
	other := w.app + "-undisturbed"
	spec.NamespaceMapping = map[string]string{"src": other}
	undisturbed, afterOther := w.restore("other", spec, nil)
	if undisturbed.Outcome != report.Completed || undisturbed.Items != summary.Items {
		t.Errorf("undisturbed: %+v, killed: %+v", undisturbed, summary)
	}
	if diff := cmp.Diff(afterOther.Status.Progress, after.Status.Progress); diff != "" {
		t.Errorf("progress (-undisturbed +killed):\n%s", diff)
	}
	want := map[string]bool{}
	for action := range maps.Keys(w.actions("other")) {
		want[strings.ReplaceAll(action, other, w.app)] = true
	}
	got := w.actions("r")
	for _, actions := range []map[string]bool{want, got} { // one namespace was there before
		delete(actions, "v1/Namespace "+w.app+"(created)")
		delete(actions, "v1/Namespace "+w.app+"(skipped)")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("actions (-undisturbed +killed):\n%s", diff)
	}
}

// Two restores with the same rights run side by side, also into one namespace.
func TestTwoRestoresAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var one, two []string
	for n := range 100 {
		one = append(one, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: one-%d, namespace: APP}}`, n))
		two = append(two, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: two-%d, namespace: APP}}`, n))
	}
	shared := `{apiVersion: v1, kind: ServiceAccount, metadata: {name: shared, namespace: APP}}`
	w.putBackup("one", w.in(append(one, shared)...)...)
	w.putBackup("two", w.in(append(two, shared)...)...)
	summaries := map[string]report.Summary{}
	var mu sync.Mutex
	var both sync.WaitGroup
	for _, name := range []string{"one", "two"} {
		w.addRestore(name, velerov1.RestoreSpec{BackupName: name})
		both.Go(func() {
			summary, _ := w.run(name, nil)
			mu.Lock()
			defer mu.Unlock()
			summaries[name] = summary
		})
	}
	both.Wait()
	for name, summary := range summaries {
		if summary.Outcome != report.Completed || summary.Warnings != 0 {
			t.Errorf("%s: %+v, %+v", name, summary, w.results(name))
		}
	}
	if got := len(w.configMaps()); got != 200 {
		t.Errorf("%d ConfigMaps are there, want 200", got)
	}
}

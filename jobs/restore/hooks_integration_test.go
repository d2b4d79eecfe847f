//go:build integration

package restore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// hookedPod is a pod with annotations, and with an init container of its own.
func hookedPod(name, annotations string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: ` + name + `, namespace: APP, labels: {app: ` + name + `}, annotations: {` + annotations + `}}, ` +
		`spec: {serviceAccountName: default, containers: [{name: c, image: x}], initContainers: [{name: restore-wait, image: x}, {name: own, image: x}]}}`
}

// Init containers come before the pod's own; the one that waited for data in an
// earlier restore doesn't come back. Annotations beat the spec, whose filters go by the target namespace.
func TestRestoreHooksAddInitContainers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := func(namespace, name string) velerov1.RestoreResourceHookSpec {
		container := runtime.RawExtension{Raw: []byte(`{"name": "` + name + `", "image": "x", "command": ["x"]}`)}
		return velerov1.RestoreResourceHookSpec{
			Name: name, IncludedNamespaces: []string{namespace}, IncludedResources: []string{"po"},
			PostHooks: []velerov1.RestoreResourceHook{{Init: &velerov1.InitRestoreHook{InitContainers: []runtime.RawExtension{container}}}},
		}
	}
	target := w.app + "-to"
	spec := velerov1.RestoreSpec{
		NamespaceMapping: map[string]string{w.app: target},
		Hooks:            velerov1.RestoreHooks{Resources: []velerov1.RestoreResourceHookSpec{entry(w.app, "source"), entry(target, "target")}},
	}
	summary := w.restored(spec, theirAcc, hookedPod("spec", ""),
		hookedPod("annotated", `init.hook.restore.velero.io/container-image: x, init.hook.restore.velero.io/container-name: hook`))
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	for name, want := range map[string][]string{"spec": {"target", "own"}, "annotated": {"hook", "own"}} {
		pod, err := w.kube.CoreV1().Pods(target).Get(t.Context(), name, metav1.GetOptions{})
		w.must(err)
		var names []string
		for _, container := range pod.Spec.InitContainers {
			names = append(names, container.Name)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("init containers of %s (-want +got):\n%s", name, diff)
		}
	}
	restore, err := w.client.Restores(w.velero).Get(t.Context(), "r", metav1.GetOptions{})
	w.must(err)
	if restore.Status.HookStatus != nil {
		t.Errorf("init containers count as commands: %+v", restore.Status.HookStatus)
	}
}

// soon does something to a pod once it is there.
func (w *world) soon(all *sync.WaitGroup, name string, do func(ctx context.Context) error) {
	all.Go(func() {
		err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			_, err := w.kube.CoreV1().Pods(w.app).Get(ctx, name, metav1.GetOptions{})
			return err == nil, nil
		})
		if err := errors.Join(err, do(w.t.Context())); err != nil {
			w.t.Errorf("pod %s: %v", name, err)
		}
	})
}

// starts lets a pod be as if a kubelet had started its container.
func (w *world) starts(name string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		const status = `{"status": {"phase": "Running", "containerStatuses": [{"name": "c", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
			"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]}}`
		_, err := w.kube.CoreV1().Pods(w.app).Patch(ctx, name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status")
		return err
	}
}

// Commands that fail, are too late, or lose their pod. There is no kubelet here,
// so that none succeeds.
func TestRestoreHooksRunCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const command = `post.hook.restore.velero.io/command: run, `
	var all sync.WaitGroup
	w.soon(&all, "continue", w.starts("continue"))
	w.soon(&all, "fail", w.starts("fail"))
	w.soon(&all, "deleted", func(ctx context.Context) error {
		return w.kube.CoreV1().Pods(w.app).Delete(ctx, "deleted", metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	})
	summary := w.restored(velerov1.RestoreSpec{}, theirAcc, hookedPod("none", ""),
		hookedPod("continue", command), hookedPod("fail", command+`post.hook.restore.velero.io/on-error: Fail`),
		hookedPod("late", command+`post.hook.restore.velero.io/wait-timeout: 1s`), hookedPod("deleted", command),
		hookedPod("wrong", command+`post.hook.restore.velero.io/container: db`))
	all.Wait()
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 3 || summary.Warnings != 2 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	const unable = "the container isn't running: "
	w.said(w.errors("r"), "fail", "restore hook (post.hook.restore.velero.io/command)", unable)
	w.said(w.errors("r"), "late", "not run", "isn't running after 1s")
	w.said(w.errors("r"), "deleted", "not run", "the pod was deleted")
	w.said(w.warnings("r"), "continue", unable)
	w.said(w.warnings("r"), "wrong", `the pod has no container "db"`)
	restore, err := w.client.Restores(w.velero).Get(t.Context(), "r", metav1.GetOptions{})
	w.must(err)
	if diff := cmp.Diff(&velerov1.HookStatus{HooksAttempted: 4, HooksFailed: 4}, restore.Status.HookStatus); diff != "" {
		t.Errorf("hooks counted (-want +got):\n%s", diff)
	}
}

// Pods that were there before have no hooks run.
func TestRestoreHooksAreForRestoredPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pod := hookedPod("p", `post.hook.restore.velero.io/command: run`)
	w.live(theirAcc, pod)
	summary := w.restored(velerov1.RestoreSpec{}, theirAcc, pod)
	restore, err := w.client.Restores(w.velero).Get(t.Context(), "r", metav1.GetOptions{})
	w.must(err)
	if summary.Outcome != report.Completed || restore.Status.HookStatus != nil {
		t.Errorf("summary %+v, hooks %+v, results %+v", summary, restore.Status.HookStatus, w.results("r"))
	}
}

//go:build e2e

package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

// TestRestoreHooks restores pods that ask for init containers and for commands
// after their start, each time beside the pods that were backed up.
func TestRestoreHooks(t *testing.T) {
	s := start(t)
	program := s.loadHookApp()
	s.rest()
	for name, test := range map[string]func(*restoreHookTest){
		"annotations":                        testRestoreHookAnnotations,
		"the spec":                           testRestoreHookSpec,
		"commands that fail":                 testRestoreHookFail,
		"pods whose containers don't run":    testRestoreHookWait,
		"a restore that ends while it waits": testRestoreHookCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			h := &restoreHookTest{hookTest: &hookTest{session: s.beside(t), image: program, namespace: unique("rhooks")}}
			h.copy = h.namespace + "-copy"
			h.prepare()
			h.after("kubectl", "delete", "namespace", h.copy, "--wait=false", "--ignore-not-found")
			test(h)
		})
	}
}

// restoreHookTest restores the pods of a namespace into another.
type restoreHookTest struct {
	*hookTest
	copy string
}

// args are those of a restore of the namespace into the other.
func (h *restoreHookTest) args(more ...string) []string {
	return append([]string{
		"kubectl", "velero", "restore", "create", h.namespace, "--from-backup", h.namespace,
		"--namespace-mappings", h.namespace + ":" + h.copy,
	}, more...)
}

// backUp creates pods and backs them up.
func (h *restoreHookTest) backUp(pods ...pod) {
	h.t.Helper()
	h.create(pods...)
	h.must("kubectl", "velero", "backup", "create", h.namespace, "--include-namespaces", h.namespace, "--snapshot-volumes=false", "--wait")
}

// endedRestore waits for the end of the restore, and wants it in the phase and
// with these counts of hooks. It returns what the results say of the namespace.
func (h *restoreHookTest) endedRestore(phase velerov1.RestorePhase, want velerov1.HookStatus) (errors, warnings string) {
	h.t.Helper()
	var restore *velerov1.Restore
	h.eventually("the restore has ended", func() bool {
		var err error
		restore, err = h.velero.Restores(namespace).Get(h.t.Context(), h.namespace, metav1.GetOptions{})
		h.check(err)
		return restore.Status.Phase.Terminal()
	})
	if restore.Status.Phase != phase {
		h.t.Errorf("phase %s, want %s", restore.Status.Phase, phase)
	}
	if diff := cmp.Diff(&want, restore.Status.HookStatus); diff != "" {
		h.t.Errorf("hooks counted (-want +got):\n%s", diff)
	}
	var results map[string]struct{ Namespaces map[string][]string }
	key := fmt.Sprintf("restores/%[1]s/restore-%[1]s-results.gz", h.namespace)
	h.eventually("the results are stored", func() bool { return len(h.keys(key)) > 0 }) // after the phase when it was interrupted
	h.decode(key, &results)
	return strings.Join(results["errors"].Namespaces[h.copy], "\n"), strings.Join(results["warnings"].Namespaces[h.copy], "\n")
}

// restored is a pod as it is in the namespace that it was restored into.
func (h *restoreHookTest) restored(name string) *corev1.Pod {
	h.t.Helper()
	live, err := h.kube.CoreV1().Pods(h.copy).Get(h.t.Context(), name, metav1.GetOptions{})
	h.check(err)
	return live
}

// annotations wants these of a restored pod.
func (h *restoreHookTest) annotations(name string, want map[string]string) {
	h.t.Helper()
	live := h.restored(name)
	for key, value := range want {
		if got := live.Annotations[key]; got != value {
			h.t.Errorf("pod %q has %s=%q, want %q", name, key, got, value)
		}
	}
}

// mentions wants all texts in what was said.
func (h *restoreHookTest) mentions(where, said string, texts ...string) {
	h.t.Helper()
	for _, text := range texts {
		if !strings.Contains(said, text) {
			h.t.Errorf("%s: no %q in\n%s", where, text, said)
		}
	}
}

// The init container runs before the pod's own, the command after its start.
func testRestoreHookAnnotations(h *restoreHookTest) {
	own := func(s *corev1.PodSpec) {
		s.InitContainers = []corev1.Container{{
			Name: "own", Image: h.image, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"/hook", "annotate", "last-init", "own"},
		}}
	}
	h.backUp(
		pod{name: "web", change: own, restore: map[string]string{
			"init.container-image": h.image, "init.command": `["/hook", "annotate", "last-init", "hook"]`,
			"post.command": `["/hook", "annotate", "after", "yes"]`,
		}},
		pod{name: "plain", change: own},
	)
	h.must(h.args("--wait")...)
	h.endedRestore(velerov1.RestorePhaseCompleted, velerov1.HookStatus{HooksAttempted: 1})
	var names []string
	for _, c := range h.restored("web").Spec.InitContainers {
		names = append(names, c.Name)
	}
	if len(names) != 2 || !strings.HasPrefix(names[0], "velero-restore-init-") || names[1] != "own" {
		h.t.Errorf("init containers %q", names)
	}
	h.annotations("web", map[string]string{"last-init": "own", "after": "yes"})
	if plain := h.restored("plain"); len(plain.Spec.InitContainers) != 1 || plain.Annotations["after"] != "" {
		h.t.Errorf("a pod without hooks has init containers %v, annotations %v", plain.Spec.InitContainers, plain.Annotations)
	}
	log := h.must("kubectl", "velero", "restore", "logs", h.namespace)
	h.mentions("log", log, "running hook", "hook ended", "arguments=3")
}

// Hooks of the spec are for the namespace that pods are restored into. There are
// no flags for them: the objects that the command would create are edited.
func testRestoreHookSpec(h *restoreHookTest) {
	readiness := func(s *corev1.PodSpec) {
		s.Containers[0].ReadinessProbe = &corev1.Probe{
			ProbeHandler:        corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/hook", "end"}}},
			InitialDelaySeconds: 3, PeriodSeconds: 1,
		}
	}
	h.backUp(
		pod{name: "web", labels: map[string]string{"app": "web"}, change: readiness},
		pod{name: "own", labels: map[string]string{"app": "web"}, restore: map[string]string{"post.command": `["/hook", "annotate", "by", "annotation"]`}},
	)
	printed := h.must(h.args("--dry-run=client", "-o", "yaml")...)
	edited := strings.Replace(printed, "  hooks: {}\n", fmt.Sprintf(`  hooks:
    resources:
    - name: fix
      includedNamespaces: [%[1]s]
      labelSelector: {matchLabels: {app: web}}
      postHooks:
      - init: {initContainers: [{name: fix, image: %[2]q, command: [/hook, annotate, init, spec]}]}
      - exec: {command: [/hook, annotate, by, first], waitForReady: true, waitTimeout: 1m}
      - exec: {container: app, command: [/hook, annotate, by, second], execTimeout: 20s}
    - name: elsewhere
      includedNamespaces: [%[3]s]
      postHooks: [{exec: {command: [/hook, annotate, by, wrong]}}]
`, h.copy, h.image, h.namespace), 1)
	if edited == printed {
		h.t.Fatalf("no place for hooks in\n%s", printed)
	}
	file := filepath.Join(h.t.TempDir(), "restore.yaml")
	h.check(os.WriteFile(file, []byte(edited), 0o600))
	binding := "by-hand-" + h.namespace
	h.must("kubectl", "create", "clusterrolebinding", binding, "--clusterrole=cluster-admin", "--serviceaccount="+namespace+":velero-restore")
	h.after("kubectl", "delete", "clusterrolebinding", binding)
	h.must("kubectl", "create", "-f", file)
	h.endedRestore(velerov1.RestorePhaseCompleted, velerov1.HookStatus{HooksAttempted: 3})
	h.annotations("web", map[string]string{"init": "spec", "by": "second"})
	h.annotations("own", map[string]string{"init": "spec", "by": "annotation"})
}

// A command that fails is an error with onError Fail, and a warning else; other
// pods have their hooks run whatever happens. Nobody is told its arguments.
func testRestoreHookFail(h *restoreHookTest) {
	failing := `["/hook", "fail", "3", "disk is full", "--password=s3cr3t"]`
	h.backUp(
		pod{name: "fail", restore: map[string]string{"post.command": failing, "post.on-error": "Fail"}},
		pod{name: "unset", restore: map[string]string{"post.command": failing}},
		pod{name: "slow", restore: map[string]string{"post.command": `["/hook", "sleep", "10s", "end"]`, "post.exec-timeout": "1s", "post.on-error": "Fail"}},
		pod{name: "wrong", restore: map[string]string{"post.command": "/hook", "post.container": "db"}},
		pod{name: "other", restore: map[string]string{"post.command": `["/hook", "annotate", "after", "yes"]`}},
	)
	result := h.try(h.args("--wait")...)
	if result.Code != 2 {
		h.t.Errorf("exit status %d, want 2", result.Code)
	}
	errors, warnings := h.endedRestore(velerov1.RestorePhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 4, HooksFailed: 3})
	const failed = `restore hook (post.hook.restore.velero.io/command): run "/hook" with 4 arguments in container "app": exit code 3: disk is full`
	h.mentions("errors", errors, "fail", failed, "slow", "no end within 1s")
	h.mentions("warnings", warnings, "unset", failed, `the pod has no container "db"; hint: it has ["app"]`)
	h.annotations("other", map[string]string{"after": "yes"})
	described := h.must("kubectl", "velero", "restore", "describe", h.namespace, "--details")
	log := h.must("kubectl", "velero", "restore", "logs", h.namespace)
	for where, text := range map[string]string{"create": said(result), "describe": described, "logs": log, "results": errors + warnings} {
		if strings.Contains(text, "s3cr3t") {
			h.t.Errorf("%s tells an argument of the hook", where)
		}
	}
}

func said(r console.Result) string { return r.Stdout + r.Stderr }

// A container that doesn't run in time, and a pod that goes away, are errors that
// say why, and nothing waits for ever.
func testRestoreHookWait(h *restoreHookTest) {
	command := `["/hook", "annotate", "after", "yes"]`
	nowhere := func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"no": "such-node"} }
	h.backUp(
		pod{name: "pending", change: nowhere, restore: map[string]string{"post.command": command, "post.wait-timeout": "10s"}},
		pod{name: "gone", change: nowhere, restore: map[string]string{"post.command": command}},
		pod{name: "web", restore: map[string]string{"post.command": command}},
	)
	h.must(h.args()...)
	h.eventually("the hook of another pod has run", func() bool {
		live, err := h.kube.CoreV1().Pods(h.copy).Get(h.t.Context(), "web", metav1.GetOptions{})
		return err == nil && live.Annotations["after"] == "yes"
	})
	h.must("kubectl", "-n", h.copy, "delete", "pod", "gone")
	errors, _ := h.endedRestore(velerov1.RestorePhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 3, HooksFailed: 2})
	h.mentions("errors", errors, "gone", "not run: the pod was deleted",
		"pending", `not run: container "app" isn't running after 10s: the pod is on no node: Unschedulable`)
}

// A restore that is stopped doesn't leave hooks waiting.
func testRestoreHookCancelled(h *restoreHookTest) {
	h.backUp(pod{
		name: "pending", restore: map[string]string{"post.command": `["/hook", "end"]`},
		change: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"no": "such-node"} },
	})
	h.must(h.args()...)
	h.eventually("the hook waits", func() bool {
		_, err := h.kube.CoreV1().Pods(h.copy).Get(h.t.Context(), "pending", metav1.GetOptions{})
		return err == nil
	})
	h.must("kubectl", "-n", namespace, "delete", "job", "-l", "kubectl-velero.io/name="+h.namespace+",kubectl-velero.io/operation=restore", "--wait=false")
	errors, _ := h.endedRestore(velerov1.RestorePhaseFailed, velerov1.HookStatus{HooksAttempted: 1, HooksFailed: 1})
	h.mentions("errors", errors, "not run: interrupted: ")
}

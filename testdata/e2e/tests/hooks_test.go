//go:build e2e

package tests

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestHooks backs up pods whose containers have commands to run before and after.
func TestHooks(t *testing.T) {
	s := start(t)
	program := s.loadHookApp()
	s.rest()
	for name, test := range map[string]func(*hookTest){
		"a marker of a pre hook is in the backup": testHookMarker,
		"Fail leaves the pod out":                 testHookFail,
		"Continue takes the pod":                  testHookContinue,
		"annotations beat the spec":               testHookSpec,
		"a hook that takes too long":              testHookTimeout,
		"pods that can't run hooks":               testHookCannotRun,
		"pods that share a claim":                 testHookRelated,
		"a backup that is stopped":                testHookStopped,
	} {
		t.Run(name, func(t *testing.T) {
			h := &hookTest{session: s.beside(t), image: program, namespace: unique("hooks")}
			h.prepare()
			test(h)
		})
	}
}

// loadHookApp brings the program of the hooks into the cluster.
func (s *session) loadHookApp() (reference string) {
	s.t.Helper()
	return s.loadProgram("hookapp", "/hook")
}

// hookTest is a namespace of its own with pods that run the hooks' program.
type hookTest struct {
	*session
	image, namespace string
}

// prepare makes the namespace, in which pods may leave traces.
func (h *hookTest) prepare() {
	h.t.Helper()
	h.apply(strings.ReplaceAll(`apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: hooks, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: hooks, namespace: NS}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: [create]}
- {apiGroups: [""], resources: [pods], verbs: [patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: hooks, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: hooks}
subjects: [{kind: ServiceAccount, name: hooks, namespace: NS}]
`, "NS", h.namespace))
	h.after("kubectl", "delete", "namespace", h.namespace, "--wait=false")
}

// pod is one whose containers run the hooks' program. The keys of its hooks are
// annotations without the domain, such as pre.command; those of restore are for
// its restore, such as post.command.
type pod struct {
	name           string
	labels         map[string]string
	hooks, restore map[string]string
	change         func(*corev1.PodSpec)
}

// create makes the pods, and waits for those that nothing was changed of.
func (h *hookTest) create(pods ...pod) {
	h.t.Helper()
	var ready []string
	for _, p := range pods {
		object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: p.labels, Annotations: map[string]string{}}}
		for key, value := range p.hooks {
			dot := strings.LastIndexByte(key, '.')
			object.Annotations[key[:dot+1]+"hook.backup.velero.io/"+key[dot+1:]] = value
		}
		for key, value := range p.restore {
			object.Annotations[strings.Replace(key, ".", ".hook.restore.velero.io/", 1)] = value
		}
		object.Spec = corev1.PodSpec{
			ServiceAccountName: "hooks", RestartPolicy: corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: new(int64),
			Containers:                    []corev1.Container{{Name: "app", Image: h.image, ImagePullPolicy: corev1.PullIfNotPresent}},
		}
		if p.change != nil {
			p.change(&object.Spec)
		} else {
			ready = append(ready, "pod/"+p.name)
		}
		_, err := h.kube.CoreV1().Pods(h.namespace).Create(h.t.Context(), object, metav1.CreateOptions{})
		h.check(err)
	}
	if len(ready) > 0 {
		h.must(append([]string{"kubectl", "-n", h.namespace, "wait", "--for=condition=Ready", "--timeout=" + patience.String()}, ready...)...)
	}
}

// hookBackup is a backup that has ended, with what it wrote.
type hookBackup struct {
	name   string
	result console.Result
	// pods are the stored ones by name.
	pods map[string]corev1.Pod
	// paths are those of the archive.
	paths map[string]bool
	// errors are those of the results for the namespace, warnings too.
	errors, warnings []string
}

// back backs up the namespace, and wants the phase with its exit status and these
// counts of hooks, in the cluster and in the bucket.
func (h *hookTest) back(phase velerov1.BackupPhase, want velerov1.HookStatus, args ...string) hookBackup {
	h.t.Helper()
	b := hookBackup{name: h.namespace, pods: map[string]corev1.Pod{}, paths: map[string]bool{}}
	if len(args) == 0 {
		args = []string{"--include-namespaces", h.namespace}
	}
	b.result = h.try(append([]string{"kubectl", "velero", "backup", "create", b.name, "--wait"}, args...)...)
	codes := map[velerov1.BackupPhase]int{velerov1.BackupPhaseCompleted: 0, velerov1.BackupPhasePartiallyFailed: 2}
	if b.result.Code != codes[phase] {
		h.t.Errorf("exit status %d, want %d", b.result.Code, codes[phase])
	}
	live, err := h.velero.Backups(namespace).Get(h.t.Context(), b.name, metav1.GetOptions{})
	h.check(err)
	var stored velerov1.Backup
	h.decode("backups/"+b.name+"/velero-backup.json", &stored)
	for where, backup := range map[string]*velerov1.Backup{"cluster": live, "bucket": &stored} {
		if backup.Status.Phase != phase {
			h.t.Errorf("phase in the %s is %s, want %s", where, backup.Status.Phase, phase)
		}
		if diff := cmp.Diff(&want, backup.Status.HookStatus); diff != "" {
			h.t.Errorf("hooks counted in the %s (-want +got):\n%s", where, diff)
		}
	}
	h.read(&b)
	return b
}

// read reads archive and results.
func (h *hookTest) read(b *hookBackup) {
	h.t.Helper()
	folder := "backups/" + b.name + "/" + b.name
	for _, e := range readTar(h.t, h.object(folder+".tar.gz")) {
		b.paths[e.header.Name] = true
		if strings.HasPrefix(e.header.Name, "resources/pods/namespaces/") {
			var stored corev1.Pod
			h.check(json.Unmarshal(e.body, &stored))
			b.pods[stored.Name] = stored
		}
	}
	var results map[string]struct{ Namespaces map[string][]string }
	h.decode(folder+"-results.gz", &results)
	b.errors, b.warnings = results["errors"].Namespaces[h.namespace], results["warnings"].Namespaces[h.namespace]
}

// stored wants exactly these pods in the archive.
func (h *hookTest) stored(b hookBackup, names ...string) {
	h.t.Helper()
	for _, name := range names {
		if _, ok := b.pods[name]; !ok {
			h.t.Errorf("pod %q isn't in the archive", name)
		}
	}
	if len(b.pods) != len(names) {
		h.t.Errorf("the archive has %d pods, want %q", len(b.pods), names)
	}
}

// saidOf wants one error about the pod, with the text.
func (h *hookTest) saidOf(b hookBackup, pod, text string) {
	h.t.Helper()
	for _, line := range b.errors {
		if strings.Contains(line, "name: /"+pod+" ") && strings.Contains(line, text) {
			return
		}
	}
	h.t.Errorf("no error of pod %q has %q: %q", pod, text, b.errors)
}

// annotation is that of a live pod.
func (h *hookTest) annotation(name, key string) string {
	h.t.Helper()
	live, err := h.kube.CoreV1().Pods(h.namespace).Get(h.t.Context(), name, metav1.GetOptions{})
	h.check(err)
	return live.Annotations[key]
}

// What a pre hook made, and what it changed of its own pod, is in the backup;
// what a post hook changed isn't.
func testHookMarker(h *hookTest) {
	h.create(
		pod{name: "maker", hooks: map[string]string{"pre.command": `["/hook", "mark", "before"]`, "pre.container": "app"}},
		pod{name: "changer", hooks: map[string]string{
			"pre.command":  `["/hook", "annotate", "before", "yes"]`,
			"post.command": `["/hook", "annotate", "after", "yes"]`,
		}},
		pod{name: "legacy", hooks: map[string]string{"command": `["/hook", "annotate", "before", "yes"]`}},
	)
	b := h.back(velerov1.BackupPhaseCompleted, velerov1.HookStatus{HooksAttempted: 4})
	h.stored(b, "maker", "changer", "legacy")
	if path := "resources/configmaps/namespaces/" + h.namespace + "/before.json"; !b.paths[path] {
		h.t.Errorf("the archive has no %s", path)
	}
	for _, name := range []string{"changer", "legacy"} {
		if b.pods[name].Annotations["before"] != "yes" {
			h.t.Errorf("pod %q was stored as it was before its hook", name)
		}
	}
	if got := b.pods["changer"].Annotations["after"]; got != "" {
		h.t.Error("the post hook ran before the pod was stored")
	}
	if got := h.annotation("changer", "after"); got != "yes" {
		h.t.Error("the post hook didn't run")
	}
	log := h.must("kubectl", "velero", "backup", "logs", b.name)
	for _, want := range []string{"marked before", "program=/hook", "arguments=2"} {
		if !strings.Contains(log, want) {
			h.t.Errorf("the log has no %q", want)
		}
	}
}

// A hook whose failure isn't to be passed over keeps its pod out, and nothing
// else. No word is Fail too, as documented.
func testHookFail(h *hookTest) {
	failing := `["/hook", "fail", "3", "disk is full", "--password=s3cr3t"]`
	post := `["/hook", "annotate", "after", "yes"]`
	h.create(
		pod{name: "explicit", hooks: map[string]string{"pre.command": failing, "pre.on-error": "Fail", "post.command": post}},
		pod{name: "unset", hooks: map[string]string{"pre.command": failing}},
		pod{name: "other"},
	)
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 2, HooksFailed: 2})
	h.stored(b, "other")
	if path := "resources/serviceaccounts/namespaces/" + h.namespace + "/hooks.json"; !b.paths[path] {
		h.t.Errorf("the archive has no %s", path)
	}
	for _, name := range []string{"explicit", "unset"} {
		h.saidOf(b, name, `run "/hook" with 4 arguments in container "app": exit code 3: disk is full`)
	}
	if got := h.annotation("explicit", "after"); got != "" {
		h.t.Error("the post hook of a pod that wasn't stored ran")
	}
	described := h.must("kubectl", "velero", "backup", "describe", b.name, "--details")
	if want := "exit code 3: disk is full"; !strings.Contains(described, want) {
		h.t.Errorf("describe has no %q", want)
	}
	log := h.must("kubectl", "velero", "backup", "logs", b.name)
	for where, text := range map[string]string{"create": b.result.Stdout + b.result.Stderr, "describe": described, "logs": log} {
		if strings.Contains(text, "s3cr3t") {
			h.t.Errorf("%s tells an argument of the hook", where)
		}
	}
}

func testHookContinue(h *hookTest) {
	h.create(pod{name: "web", hooks: map[string]string{
		"pre.command": `["/hook", "fail", "1", "not now"]`, "pre.on-error": "Continue",
		"post.command": `["/hook", "annotate", "after", "yes"]`,
	}})
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 2, HooksFailed: 1})
	h.stored(b, "web")
	h.saidOf(b, "web", `pre hook (pre.hook.backup.velero.io/command): run "/hook" with 3 arguments in container "app": exit code 1: not now`)
	if got := h.annotation("web", "after"); got != "yes" {
		h.t.Error("the post hook didn't run")
	}
}

// Hooks of the spec run for the pods that they select and that have none of
// their own, each entry in its turn; one that failed ends its pod's phase, and
// what is left counts as attempted.
func testHookSpec(h *hookTest) {
	h.create(
		pod{name: "plain", labels: map[string]string{"app": "web"}},
		pod{name: "own", labels: map[string]string{"app": "web"}, hooks: map[string]string{"pre.command": `["/hook", "annotate", "by", "annotation"]`}},
		pod{name: "stops", labels: map[string]string{"app": "db"}},
	)
	h.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: Schedule
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  schedule: "0 3 * * *"
  paused: true
  template:
    includedNamespaces: [%[1]s]
    ttl: 1h
    hooks:
      resources:
      - name: first
        includedNamespaces: ["hooks-*"]
        includedResources: [po]
        labelSelector: {matchLabels: {app: web}}
        pre: [{exec: {container: app, command: [/hook, annotate, by, spec], timeout: 20s}}]
        post: [{exec: {command: [/hook, annotate, after, spec]}}]
      - name: second
        labelSelector: {matchLabels: {app: web}}
        pre: [{exec: {command: [/hook, annotate, by, second]}}]
      - name: elsewhere
        excludedNamespaces: ["hooks-*"]
        pre: [{exec: {command: [/hook, mark, wrong]}}]
      - name: stop
        labelSelector: {matchLabels: {app: db}}
        pre:
        - exec: {command: [/hook, fail, "1", "no way"], onError: Fail}
        - exec: {command: [/hook, mark, wrong]}
`, h.namespace, namespace))
	h.after("kubectl", "-n", namespace, "delete", "schedule.velero.io/"+h.namespace)
	// plain: two pre and one post hook; own: its own and a post hook; stops: two,
	// of which one isn't run.
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 7, HooksFailed: 1}, "--from-schedule", h.namespace)
	h.stored(b, "plain", "own")
	for name, want := range map[string]string{"plain": "second", "own": "annotation"} {
		if got := b.pods[name].Annotations["by"]; got != want {
			h.t.Errorf("the last pre hook of pod %q was %q, want %q", name, got, want)
		}
		if got := h.annotation(name, "after"); got != "spec" {
			h.t.Errorf("the post hook of pod %q didn't run", name)
		}
	}
	h.saidOf(b, "stops", `pre hook "stop" (hooks.resources[3].pre[0]) keeps the pod out (onError Fail, the default): run "/hook" with 3 arguments in container "app": exit code 1: no way`)
	if path := "resources/configmaps/namespaces/" + h.namespace + "/wrong.json"; b.paths[path] {
		h.t.Error("a hook ran that shouldn't have")
	}
}

// The wait for a command ends; the command goes on.
func testHookTimeout(h *hookTest) {
	h.create(
		pod{name: "slow", hooks: map[string]string{
			"pre.command": `["/hook", "sleep", "20s", "annotate", "late", "yes"]`, "pre.timeout": "1s", "pre.on-error": "Continue",
		}},
		pod{name: "unclear", hooks: map[string]string{"pre.command": `["/hook", "end"]`, "pre.timeout": "soon"}},
	)
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 2, HooksFailed: 1})
	h.stored(b, "slow", "unclear")
	h.saidOf(b, "slow", `no end within 1s; the command goes on running in the container`)
	if got := b.pods["slow"].Annotations["late"]; got != "" {
		h.t.Error("the backup waited for the command")
	}
	if text := strings.Join(b.warnings, "\n"); !strings.Contains(text, `"soon" is not a duration`) {
		h.t.Errorf("warnings %q", text)
	}
	h.eventually("the command has gone on to its end", func() bool { return h.annotation("slow", "late") == "yes" })
}

// testHookCannotRun is what cluster and container runtime say of hooks that
// can't be run, in words for people.
func testHookCannotRun(h *hookTest) {
	hook := func(command string) map[string]string {
		return map[string]string{"pre.command": command, "pre.on-error": "Continue"}
	}
	end := `["/hook", "end"]`
	wrong := hook(end)
	wrong["pre.container"] = "db"
	half := hook(end)
	half["pre.container"] = "ended"
	h.create(
		pod{name: "done", hooks: hook(end), change: func(s *corev1.PodSpec) { s.Containers[0].Args = []string{"end"} }},
		pod{name: "half", hooks: half, change: func(s *corev1.PodSpec) {
			s.Containers = append(s.Containers, corev1.Container{Name: "ended", Image: h.image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"end"}})
		}},
		pod{name: "pending", hooks: hook(end), change: func(s *corev1.PodSpec) { s.NodeSelector = map[string]string{"no": "such-node"} }},
		pod{name: "wrong", hooks: wrong},
		pod{name: "missing", hooks: hook("/bin/mysql --password=s3cr3t")},
	)
	h.must("kubectl", "-n", h.namespace, "wait", "pod/done", "--for=jsonpath={.status.phase}=Succeeded", "--timeout="+patience.String())
	h.must("kubectl", "-n", h.namespace, "wait", "pod/half", "--for=jsonpath={.status.containerStatuses[?(@.name==\"ended\")].state.terminated.exitCode}=0", "--timeout="+patience.String())
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 5, HooksFailed: 4})
	h.stored(b, "done", "half", "pending", "wrong", "missing")
	h.saidOf(b, "half", `in container "ended": the container isn't running: `)
	h.saidOf(b, "pending", `in container "app": the container isn't running: `)
	h.saidOf(b, "wrong", `the pod has no container "db"; hint: it has ["app"]`)
	h.saidOf(b, "missing", `run "/bin/mysql…" in container "app": the program can't be started: `)
	if text := strings.Join(b.errors, "\n"); strings.Contains(text, "s3cr3t") {
		h.t.Errorf("the results tell an argument: %s", text)
	}
}

// A selected claim brings the pods that mount it, with their hooks; one that its
// hook has kept out isn't brought back, nor is its hook run again.
func testHookRelated(h *hookTest) {
	data := filepath.Join("/var/tmp/kubectl-velero-e2e", h.namespace)
	if h.cluster.Kind == provider.Local {
		data = filepath.Join(h.folder, h.namespace)
	}
	h.apply(fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: %[1]s
  claimRef: {namespace: %[1]s, name: data}
  hostPath: {path: %[2]q, type: DirectoryOrCreate}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: %[1]s, labels: {app: web}}
spec: {accessModes: [ReadWriteOnce], storageClassName: %[1]s, resources: {requests: {storage: 1Gi}}}
`, h.namespace, data))
	h.after("kubectl", "delete", "persistentvolume", h.namespace, "--wait=false")
	mounts := func(s *corev1.PodSpec) {
		claim := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: claim}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}
	h.create(
		pod{name: "out", labels: map[string]string{"app": "web"}, hooks: map[string]string{"pre.command": `["/hook", "fail", "1", "no"]`}, change: mounts},
		pod{name: "beside", hooks: map[string]string{"pre.command": `["/hook", "annotate", "before", "yes"]`}, change: mounts},
		pod{name: "apart", hooks: map[string]string{"pre.command": `["/hook", "annotate", "before", "yes"]`}},
	)
	h.must("kubectl", "-n", h.namespace, "wait", "pod/out", "pod/beside", "--for=condition=Ready", "--timeout="+patience.String())
	b := h.back(velerov1.BackupPhasePartiallyFailed, velerov1.HookStatus{HooksAttempted: 2, HooksFailed: 1},
		"--include-namespaces", h.namespace, "--selector", "app=web")
	h.stored(b, "beside")
	if b.pods["beside"].Annotations["before"] != "yes" {
		h.t.Error("the hook of the pod beside didn't run before the pod was stored")
	}
	if len(b.errors) != 1 {
		h.t.Errorf("errors %q", b.errors)
	}
}

// What a pre hook has stopped is started again, although the backup is gone.
func testHookStopped(h *hookTest) {
	h.create(pod{name: "frozen", hooks: map[string]string{
		"pre.command": `["/hook", "hold", "held", "60s"]`, "pre.timeout": "2m",
		"post.command": `["/hook", "annotate", "after", "yes"]`,
	}})
	h.must("kubectl", "velero", "backup", "create", h.namespace, "--include-namespaces", h.namespace)
	h.eventually("the pre hook runs", func() bool { return h.annotation("frozen", "held") == "yes" })
	h.must("kubectl", "-n", namespace, "delete", "job", "-l", "kubectl-velero.io/name="+h.namespace, "--wait=false")
	h.eventually("the post hook has run", func() bool { return h.annotation("frozen", "after") == "yes" })
	if backup := h.ended(h.namespace); backup.Status.Phase != velerov1.BackupPhaseFailed || backup.Status.FailureReason == "" {
		h.t.Errorf("phase %s, reason %q", backup.Status.Phase, backup.Status.FailureReason)
	}
	if keys := h.keys("backups/" + h.namespace + "/velero-backup.json"); len(keys) > 0 {
		h.t.Error("a stopped backup has a marker")
	}
}

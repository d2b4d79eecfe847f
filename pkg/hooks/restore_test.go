package hooks_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// post is a command of a restore's spec with nothing but a program.
func post(program string, change ...func(*velerov1.ExecRestoreHook)) velerov1.RestoreResourceHook {
	exec := &velerov1.ExecRestoreHook{Command: []string{program}}
	for _, c := range change {
		c(exec)
	}
	return velerov1.RestoreResourceHook{Exec: exec}
}

// initial is a hook of a restore's spec that adds containers, as JSON.
func initial(containers ...string) velerov1.RestoreResourceHook {
	hook := &velerov1.InitRestoreHook{}
	for _, c := range containers {
		hook.InitContainers = append(hook.InitContainers, runtime.RawExtension{Raw: []byte(c)})
	}
	return velerov1.RestoreResourceHook{Init: hook}
}

// restoreEntry is an element of the spec's list.
func restoreEntry(name string, hooks ...velerov1.RestoreResourceHook) velerov1.RestoreResourceHookSpec {
	return velerov1.RestoreResourceHookSpec{Name: name, PostHooks: hooks}
}

func buildRestore(t *testing.T, entries ...velerov1.RestoreResourceHookSpec) *hooks.RestoreHooks {
	t.Helper()
	h, err := hooks.NewRestore(velerov1.RestoreHooks{Resources: entries}, resolve)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// annotated is a pod with two containers and annotations; "post." and "init."
// stand for what these begin with.
func annotated(set map[string]string) hooks.Pod {
	pod := hooks.Pod{Namespace: "shop", Name: "web-0", Containers: []string{"app", "db"}, Annotations: map[string]string{}}
	for key, value := range set {
		phase, name, _ := strings.Cut(key, ".")
		pod.Annotations[phase+".hook.restore.velero.io/"+name] = value
	}
	return pod
}

func TestRestoreSelection(t *testing.T) {
	t.Parallel()
	type spec = velerov1.RestoreResourceHookSpec
	pod := hooks.Pod{Namespace: "shop", Name: "web-0", Labels: map[string]string{"app": "web"}, Containers: []string{"app"}}
	for _, c := range []struct {
		name   string
		change func(*spec)
		want   bool
	}{
		{"no filter at all", func(*spec) {}, true},
		{"included namespace", func(s *spec) { s.IncludedNamespaces = []string{"shop"} }, true},
		{"namespace by a glob", func(s *spec) { s.IncludedNamespaces = []string{"sh*"} }, true},
		{"another namespace", func(s *spec) { s.IncludedNamespaces = []string{"dev"} }, false},
		{"excluded namespace", func(s *spec) { s.ExcludedNamespaces = []string{"shop"} }, false},
		{"pods by the short name", func(s *spec) { s.IncludedResources = []string{"po"} }, true},
		{"another resource", func(s *spec) { s.IncludedResources = []string{"deploy"} }, false},
		{"pods excluded", func(s *spec) { s.ExcludedResources = []string{"pods"} }, false},
		{"a selector that fits", func(s *spec) { s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}} }, true},
		{"a selector that doesn't", func(s *spec) { s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := restoreEntry("x", post("run"), initial(`{"name": "i", "image": "x", "command": ["x"]}`))
			c.change(&e)
			h := buildRestore(t, e)
			commands, _ := h.Post(pod)
			containers, _ := h.Init(pod)
			if (len(commands) > 0) != c.want || (len(containers) > 0) != c.want {
				t.Errorf("commands %v, containers %v, want some: %v", commands, containers, c.want)
			}
		})
	}
}

func TestPost(t *testing.T) {
	t.Parallel()
	const minute = time.Minute
	fromAnnotation := func(change func(*hooks.PostHook)) []hooks.PostHook {
		h := hooks.PostHook{Hook: hooks.Hook{
			Source: "post.hook.restore.velero.io/command", Container: "app", Command: []string{"run"},
			OnError: velerov1.HookErrorModeContinue, Timeout: 30 * time.Second,
		}}
		change(&h)
		return []hooks.PostHook{h}
	}
	for _, c := range []struct {
		name     string
		pod      hooks.Pod
		spec     []velerov1.RestoreResourceHookSpec
		want     []hooks.PostHook
		warnings string
	}{
		{name: "none", pod: annotated(nil)},
		{name: "without a command", pod: annotated(map[string]string{"post.container": "db"})},
		{
			name: "defaults", pod: annotated(map[string]string{"post.command": "run"}),
			want: fromAnnotation(func(*hooks.PostHook) {}),
		},
		{
			name: "everything", pod: annotated(map[string]string{
				"post.command": `["/bin/sh", "-c", "psql < x"]`, "post.container": "db", "post.on-error": "Fail",
				"post.exec-timeout": "2m", "post.wait-timeout": "5m", "post.wait-for-ready": "true",
			}),
			want: fromAnnotation(func(h *hooks.PostHook) {
				h.Container, h.Command, h.OnError = "db", []string{"/bin/sh", "-c", "psql < x"}, velerov1.HookErrorModeFail
				h.Timeout, h.WaitTimeout, h.WaitForReady = 2*minute, 5*minute, true
			}),
		},
		{
			name: "what can't be understood", pod: annotated(map[string]string{
				"post.command": `["s3cr3t"`, "post.on-error": "fail", "post.exec-timeout": "soon", "post.wait-timeout": "-1m", "post.wait-for-ready": "maybe",
			}),
			want: fromAnnotation(func(h *hooks.PostHook) {
				h.Command, h.OnError = []string{`["s3cr3t"`}, velerov1.HookErrorModeFail
			}),
			warnings: "annotation post.hook.restore.velero.io/command: begins like a JSON array of strings but isn't one, so all of it is taken as the name of the program\n" +
				`annotation post.hook.restore.velero.io/on-error: "fail" is neither Continue nor Fail; taken as Fail` + "\n" +
				`annotation post.hook.restore.velero.io/exec-timeout: "soon" is not a duration such as 90s or 5m; taken as 30s` + "\n" +
				`annotation post.hook.restore.velero.io/wait-timeout: "-1m" is negative; taken as not set` + "\n" +
				`annotation post.hook.restore.velero.io/wait-for-ready: "maybe" is neither true nor false; taken as false`,
		},
		{
			name: "a wait that is no duration", pod: annotated(map[string]string{"post.command": "run", "post.wait-timeout": "5"}),
			want:     fromAnnotation(func(*hooks.PostHook) {}),
			warnings: `annotation post.hook.restore.velero.io/wait-timeout: "5" is not a duration such as 90s or 5m; taken as not set`,
		},
		{
			name: "an annotation beats the spec", pod: annotated(map[string]string{"post.command": "run"}),
			spec: []velerov1.RestoreResourceHookSpec{restoreEntry("a", post("spec"))},
			want: fromAnnotation(func(*hooks.PostHook) {}),
		},
		{
			name: "an annotation for a container that isn't there", pod: annotated(map[string]string{"post.command": "run", "post.container": "cache"}),
			spec:     []velerov1.RestoreResourceHookSpec{restoreEntry("a", post("spec"))},
			warnings: `restore hook (post.hook.restore.velero.io/command) isn't run: the pod has no container "cache"; hint: it has ["app" "db"]`,
		},
		{
			name: "all entries of the spec, in order", pod: annotated(map[string]string{"init.container-image": "x"}),
			spec: []velerov1.RestoreResourceHookSpec{
				restoreEntry("a", initial(`{"name": "i", "image": "x", "command": ["x"]}`), post("one", func(e *velerov1.ExecRestoreHook) {
					ready := true
					e.Container, e.OnError, e.WaitForReady = "db", velerov1.HookErrorModeFail, &ready
					e.ExecTimeout.Duration, e.WaitTimeout.Duration = minute, 2*minute
				})),
				restoreEntry("b", post("two"), post("three", func(e *velerov1.ExecRestoreHook) { e.Container = "cache" }), post("four")),
			},
			want: []hooks.PostHook{
				{
					Hook: hooks.Hook{
						Source: "hooks.resources[0].postHooks[1]", Name: "a", Container: "db", Command: []string{"one"},
						OnError: velerov1.HookErrorModeFail, Timeout: minute,
					},
					WaitTimeout: 2 * minute, WaitForReady: true,
				},
				{Hook: hooks.Hook{
					Source: "hooks.resources[1].postHooks[0]", Name: "b", Container: "app", Command: []string{"two"},
					OnError: velerov1.HookErrorModeContinue, Timeout: 30 * time.Second,
				}},
				{Hook: hooks.Hook{
					Source: "hooks.resources[1].postHooks[2]", Name: "b", Container: "app", Command: []string{"four"},
					OnError: velerov1.HookErrorModeContinue, Timeout: 30 * time.Second,
				}},
			},
			warnings: `restore hook "b" (hooks.resources[1].postHooks[1]) isn't run: the pod has no container "cache"; hint: it has ["app" "db"]`,
		},
		{
			name: "a pod without containers", pod: hooks.Pod{Namespace: "shop", Name: "odd"},
			spec:     []velerov1.RestoreResourceHookSpec{restoreEntry("a", post("one"))},
			warnings: `restore hook "a" (hooks.resources[0].postHooks[0]) isn't run: the pod has no containers`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, warnings := buildRestore(t, c.spec...).Post(c.pod)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("hooks (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.warnings, strings.Join(warnings, "\n")); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// number is one in a container of the spec.
func number(text string) any { return json.Number(text) }

func TestInit(t *testing.T) {
	t.Parallel()
	spec := []velerov1.RestoreResourceHookSpec{
		restoreEntry("a", initial(`{"name": "one", "image": "busybox", "command": ["sh"], "new": {"size": 9007199254740993}}`), post("x")),
		restoreEntry("b", initial(`{"name": "two", "image": "busybox", "command": ["sh", "-c", "x"]}`, `{"name": "three", "image": "busybox", "command": ["y"]}`)),
	}
	for _, c := range []struct {
		name     string
		pod      hooks.Pod
		want     []map[string]any
		warnings string
	}{
		{name: "of the spec, in order, unknown fields and large numbers as they are", pod: annotated(nil), want: []map[string]any{
			{"name": "one", "image": "busybox", "command": []any{"sh"}, "new": map[string]any{"size": number("9007199254740993")}},
			{"name": "two", "image": "busybox", "command": []any{"sh", "-c", "x"}},
			{"name": "three", "image": "busybox", "command": []any{"y"}},
		}},
		{
			name: "an annotation beats the spec",
			pod:  annotated(map[string]string{"init.container-image": "alpine", "init.container-name": "fix", "init.command": `["/bin/ash", "-c", "date"]`, "init.timeout": "1m"}),
			want: []map[string]any{{"name": "fix", "image": "alpine", "command": []any{"/bin/ash", "-c", "date"}}},
		},
		{
			name: "a name is made up, and the image's own command runs",
			pod:  annotated(map[string]string{"init.container-image": "alpine"}),
			want: []map[string]any{{"name": "velero-restore-init-24222da1", "image": "alpine"}},
		},
		{
			name:     "a command that isn't an array",
			pod:      annotated(map[string]string{"init.container-image": "alpine", "init.container-name": "fix", "init.command": `["s3cr3t`}),
			want:     []map[string]any{{"name": "fix", "image": "alpine", "command": []any{`["s3cr3t`}}},
			warnings: "annotation init.hook.restore.velero.io/command: begins like a JSON array of strings but isn't one, so all of it is taken as the name of the program",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, warnings := buildRestore(t, spec...).Init(c.pod)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("containers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.warnings, strings.Join(warnings, "\n")); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// Annotations that don't make a hook are told, and the spec counts.
func TestInitWithoutImage(t *testing.T) {
	t.Parallel()
	h := buildRestore(t, restoreEntry("a", initial(`{"name": "one", "image": "busybox", "command": ["sh"]}`)))
	containers, warnings := h.Init(annotated(map[string]string{"init.command": "date"}))
	want := "annotation init.hook.restore.velero.io/command: no init container is added without annotation init.hook.restore.velero.io/container-image"
	if len(containers) != 1 || len(warnings) != 1 || warnings[0] != want {
		t.Errorf("containers %v, warnings %q", containers, warnings)
	}
}

// What a caller does with the containers of one pod is not seen by the next.
func TestInitIsTheCallers(t *testing.T) {
	t.Parallel()
	h := buildRestore(t, restoreEntry("a", initial(`{"name": "one", "image": "busybox", "command": ["sh"]}`)))
	first, _ := h.Init(annotated(nil))
	first[0]["command"].([]any)[0] = "changed"
	if again, _ := h.Init(annotated(nil)); again[0]["command"].([]any)[0] != "sh" {
		t.Errorf("got %v", again)
	}
}

// TestNoRestoreHooks is the zero value, and that of a restore without hooks.
func TestNoRestoreHooks(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*hooks.RestoreHooks{"zero": {}, "empty": buildRestore(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := annotated(map[string]string{"post.command": "run", "init.container-image": "alpine"})
			commands, _ := h.Post(pod)
			containers, _ := h.Init(pod)
			if len(commands) != 1 || len(containers) != 1 || len(h.Warnings()) != 0 {
				t.Errorf("commands %v, containers %v, warnings %q", commands, containers, h.Warnings())
			}
		})
	}
}

func TestPlaceInit(t *testing.T) {
	t.Parallel()
	container := func(name string, command ...any) map[string]any {
		return map[string]any{"name": name, "image": "x", "command": command}
	}
	names := func(list []any) string {
		var all []string
		for _, c := range list {
			fields, ok := c.(map[string]any)
			if !ok {
				all = append(all, "?")
				continue
			}
			name, _ := fields["name"].(string)
			all = append(all, name)
		}
		return strings.Join(all, " ")
	}
	hook := []map[string]any{container("hook", "run")}
	generated := []map[string]any{container("velero-restore-init-00000001", "run")}
	for _, c := range []struct {
		name string
		has  []any
		add  []map[string]any
		want string
	}{
		{"nothing to add", []any{container("own")}, nil, "own"},
		{"no others", nil, hook, "hook"},
		{"first", []any{container("own"), container("other")}, hook, "hook own other"},
		{"several in order", []any{container("own")}, []map[string]any{container("b"), container("a")}, "b a own"},
		{"after the wait for data", []any{container("restore-wait"), container("own")}, hook, "restore-wait hook own"},
		{"after the wait for data of old", []any{container("restic-wait"), container("own")}, hook, "restic-wait hook own"},
		{"a wait that isn't first", []any{container("own"), container("restore-wait")}, hook, "hook own restore-wait"},
		{"left by an earlier restore", []any{container("hook", "run"), container("own")}, hook, "hook own"},
		{"left by an earlier restore, and moved", []any{container("restore-wait"), container("own"), container("hook", "run")}, hook, "restore-wait hook own"},
		{"the same name for something else", []any{container("hook", "other"), container("own")}, hook, "hook hook own"},
		{"a made-up name of an earlier restore", []any{container("velero-restore-init-deadbeef", "old"), container("own")}, generated, "velero-restore-init-00000001 own"},
		{"only like a made-up name", []any{container("velero-restore-init-database"), container("velero-restore-init-1")}, generated, "velero-restore-init-00000001 velero-restore-init-database velero-restore-init-1"},
		{"not a container", []any{"x", map[string]any{"name": 7}}, hook, "hook ? "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before := names(c.has)
			if got := names(hooks.PlaceInit(c.has, c.add)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if after := names(c.has); after != before {
				t.Errorf("the given list was changed: %q", after)
			}
		})
	}
}

func TestValidateRestore(t *testing.T) {
	t.Parallel()
	type spec = velerov1.RestoreResourceHookSpec
	of := func(hooks ...velerov1.RestoreResourceHook) spec { return restoreEntry("a", hooks...) }
	exec := func(change func(*velerov1.ExecRestoreHook)) spec { return of(post("x", change)) }
	const initContainer = "hooks.resources[0].postHooks[0].init.initContainers[0]"
	for _, c := range []struct {
		name string
		spec spec
		want string
	}{
		{"sound", of(post("x"), initial(`{"name": "i", "image": "x", "command": ["x"]}`)), ""},
		{"no hooks", of(), ""},
		{"both in one", of(velerov1.RestoreResourceHook{
			Exec: post("x").Exec, Init: initial(`{"name": "i", "image": "x", "command": ["x"]}`).Init,
		}), ""},
		{"neither", of(velerov1.RestoreResourceHook{}), "hooks.resources[0].postHooks[0]: has neither exec nor init; " +
			"hint: exec: {command: [...]} runs a command, init: {initContainers: [...]} adds containers"},
		{"no command", exec(func(e *velerov1.ExecRestoreHook) { e.Command = nil }), "hooks.resources[0].postHooks[0].exec.command: names no program"},
		{"an empty program", exec(func(e *velerov1.ExecRestoreHook) { e.Command = []string{"", "x"} }), "hooks.resources[0].postHooks[0].exec.command: names no program"},
		{"an unknown mode", exec(func(e *velerov1.ExecRestoreHook) { e.OnError = "continue" }), `hooks.resources[0].postHooks[0].exec.onError: "continue" is neither Continue nor Fail`},
		{"a negative time to run", exec(func(e *velerov1.ExecRestoreHook) { e.ExecTimeout.Duration = -time.Second }), "hooks.resources[0].postHooks[0].exec.execTimeout: -1s is negative; hint: leave it out for the default"},
		{"a negative time to wait", exec(func(e *velerov1.ExecRestoreHook) { e.WaitTimeout.Duration = -time.Second }), "hooks.resources[0].postHooks[0].exec.waitTimeout: -1s is negative; hint: leave it out for the default"},
		{"no init containers", of(initial()), "hooks.resources[0].postHooks[0].init.initContainers: is empty"},
		{"not JSON", of(initial(`{`)), initContainer + ": is not a container: unexpected end of JSON input"},
		{"an empty text", of(initial(``)), initContainer + ": is not a container: unexpected end of JSON input"},
		{"null", of(initial(`null`)), initContainer + ".name: is missing\n" + initContainer + ".image: is missing\n" + initContainer + ".command: is missing"},
		{"of the wrong type", of(initial(`{"name": "i", "image": "x", "command": "x"}`)), initContainer + ": is not a container: " +
			"json: cannot unmarshal string into Go struct field Container.command of type []string"},
		{"a field in another case", of(initial(`{"Name": "i", "image": "x", "command": ["x"]}`)), initContainer + ".name: is missing"},
		{"more than one value", of(initial(`{"name": "i", "image": "x", "command": ["x"]} {}`)), initContainer + ": is not a container: "},
		{"no name", of(initial(`{"image": "x", "command": ["x"]}`)), initContainer + ".name: is missing"},
		{"no image", of(initial(`{"name": "i", "command": ["x"]}`)), initContainer + ".image: is missing"},
		{"no command of a container", of(initial(`{"name": "i", "image": "x", "command": []}`)), initContainer + ".command: is missing"},
		{"two of one name", of(initial(`{"name": "i", "image": "x", "command": ["x"]}`, `{"name": "i", "image": "y", "command": ["y"]}`)),
			`hooks.resources[0].postHooks[0].init.initContainers[1].name: "i" is the name of another init container, too`},
		{"a namespace that can't be one", spec{Name: "a", IncludedNamespaces: []string{"Shop"}}, "hooks.resources[0]: includedNamespaces"},
		{"a selector that isn't one", spec{Name: "a", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a b": "c"}}}, "hooks.resources[0]: labelSelector"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			written := velerov1.RestoreHooks{Resources: []velerov1.RestoreResourceHookSpec{c.spec}}
			got := strings.Join(hooks.ValidateRestore(written), "\n")
			if (c.want == "") != (got == "") || !strings.HasPrefix(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if _, err := hooks.NewRestore(written, resolve); (err == nil) != (c.want == "") || err != nil && err.Error() != got {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRestoreWarnings(t *testing.T) {
	t.Parallel()
	never := restoreEntry("never", post("x"))
	never.IncludedResources = []string{"deploy"}
	got := buildRestore(t, restoreEntry("fine", post("x")), never).Warnings()
	if len(got) != 1 || !strings.HasPrefix(got[0], "hooks.resources[1]: only pods have hooks") {
		t.Errorf("warnings %q", got)
	}
}

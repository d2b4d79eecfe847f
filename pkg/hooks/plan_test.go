package hooks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// resolve knows a few names, as discovery would.
func resolve(name string) (schema.GroupResource, bool) {
	full, ok := map[string]string{"po": "pods", "pod": "pods", "pods": "pods", "deploy": "deployments.apps"}[name]
	return schema.ParseGroupResource(full), ok
}

// command is a hook of the spec with nothing but a program.
func command(program string, change ...func(*velerov1.ExecHook)) velerov1.BackupResourceHook {
	exec := &velerov1.ExecHook{Command: []string{program}}
	for _, c := range change {
		c(exec)
	}
	return velerov1.BackupResourceHook{Exec: exec}
}

// entry is an element of the spec's list with one pre hook, which is called as
// the entry.
func entry(name string, change ...func(*velerov1.BackupResourceHookSpec)) velerov1.BackupResourceHookSpec {
	e := velerov1.BackupResourceHookSpec{Name: name, PreHooks: []velerov1.BackupResourceHook{command(name)}}
	for _, c := range change {
		c(&e)
	}
	return e
}

func build(t *testing.T, entries ...velerov1.BackupResourceHookSpec) *hooks.Hooks {
	t.Helper()
	h, err := hooks.New(velerov1.BackupHooks{Resources: entries}, resolve)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// programs are what a phase runs, by the first word.
func programs(list []hooks.Hook) string {
	var words []string
	for _, h := range list {
		words = append(words, h.Command[0])
	}
	return strings.Join(words, " ")
}

func TestSelection(t *testing.T) {
	t.Parallel()
	type spec = velerov1.BackupResourceHookSpec
	pod := hooks.Pod{Namespace: "shop", Name: "web-0", Labels: map[string]string{"app": "web"}}
	for _, c := range []struct {
		name   string
		change func(*spec)
		want   bool
	}{
		{"no filter at all", func(*spec) {}, true},
		{"included namespace", func(s *spec) { s.IncludedNamespaces = []string{"dev", "shop"} }, true},
		{"another namespace", func(s *spec) { s.IncludedNamespaces = []string{"dev"} }, false},
		{"namespace by a glob", func(s *spec) { s.IncludedNamespaces = []string{"sh*"} }, true},
		{"namespace by a class", func(s *spec) { s.IncludedNamespaces = []string{"s[a-h]op"} }, true},
		{"namespace by a glob that fits another", func(s *spec) { s.IncludedNamespaces = []string{"shop-?"} }, false},
		{"every namespace", func(s *spec) { s.IncludedNamespaces = []string{"*"} }, true},
		{"excluded namespace", func(s *spec) { s.ExcludedNamespaces = []string{"shop"} }, false},
		{"excluded by a glob", func(s *spec) { s.ExcludedNamespaces = []string{"s*"} }, false},
		{"another excluded", func(s *spec) { s.ExcludedNamespaces = []string{"dev"} }, true},
		{"pods", func(s *spec) { s.IncludedResources = []string{"pods"} }, true},
		{"pods by the short name", func(s *spec) { s.IncludedResources = []string{"po"} }, true},
		{"pods by the singular", func(s *spec) { s.IncludedResources = []string{"deploy", "pod"} }, true},
		{"every resource", func(s *spec) { s.IncludedResources = []string{"*"} }, true},
		{"another resource", func(s *spec) { s.IncludedResources = []string{"deploy"} }, false},
		{"an unknown resource", func(s *spec) { s.IncludedResources = []string{"gears"} }, false},
		{"pods excluded", func(s *spec) { s.ExcludedResources = []string{"po"} }, false},
		{"another resource excluded", func(s *spec) { s.ExcludedResources = []string{"deploy"} }, true},
		{"an empty selector", func(s *spec) { s.LabelSelector = &metav1.LabelSelector{} }, true},
		{"a selector that fits", func(s *spec) { s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}} }, true},
		{"a selector that doesn't", func(s *spec) { s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}} }, false},
		{"namespace fits, selector doesn't", func(s *spec) {
			s.IncludedNamespaces = []string{"shop"}
			s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := !build(t, entry("x", c.change)).Of(pod).Empty(); got != c.want {
				t.Errorf("hooks: %v, want %v", got, c.want)
			}
		})
	}
}

// All entries that select a pod count, in the order of the list.
func TestSpecOrder(t *testing.T) {
	t.Parallel()
	other := entry("other", func(s *velerov1.BackupResourceHookSpec) { s.ExcludedNamespaces = []string{"shop"} })
	second := entry("b", func(s *velerov1.BackupResourceHookSpec) {
		s.PreHooks = append(s.PreHooks, command("c"))
		s.PostHooks = []velerov1.BackupResourceHook{command("x"), command("y")}
	})
	plan := build(t, entry("a"), other, second).Of(hooks.Pod{Namespace: "shop"})
	if got := programs(plan.Pre); got != "a b c" {
		t.Errorf("pre hooks %q", got)
	}
	if got := programs(plan.Post); got != "x y" {
		t.Errorf("post hooks %q", got)
	}
	if want, got := "hooks.resources[2].post[1]", plan.Post[1].Source; got != want {
		t.Errorf("source %q, want %q", got, want)
	}
}

func TestSpecValues(t *testing.T) {
	t.Parallel()
	type exec = velerov1.ExecHook
	for _, c := range []struct {
		name   string
		change func(*exec)
		want   hooks.Hook
	}{
		{"onError and timeout unset", func(*exec) {}, hooks.Hook{OnError: "Fail", Timeout: 30 * time.Second}},
		{"onError Fail", func(e *exec) { e.OnError = "Fail" }, hooks.Hook{OnError: "Fail", Timeout: 30 * time.Second}},
		{"onError Continue", func(e *exec) { e.OnError = "Continue" }, hooks.Hook{OnError: "Continue", Timeout: 30 * time.Second}},
		{"timeout", func(e *exec) { e.Timeout.Duration = time.Minute }, hooks.Hook{OnError: "Fail", Timeout: time.Minute}},
		{"container", func(e *exec) { e.Container = "db" }, hooks.Hook{OnError: "Fail", Timeout: 30 * time.Second, Container: "db"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want.Source, c.want.Name, c.want.Command = "hooks.resources[0].pre[0]", "freeze", []string{"p"}
			e := entry("freeze", func(s *velerov1.BackupResourceHookSpec) {
				s.PreHooks = []velerov1.BackupResourceHook{command("p", c.change)}
			})
			if diff := cmp.Diff([]hooks.Hook{c.want}, build(t, e).Of(hooks.Pod{}).Pre); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnnotations(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for _, c := range []struct {
		name string
		// set has keys without the domain hook.backup.velero.io.
		set       map[string]string
		pre, post *hooks.Hook // without defaults
		warning   string
	}{
		{name: "none", set: map[string]string{"pre./timeout": "5s", "/container": "db"}},
		{name: "empty command", set: map[string]string{"pre./command": " ", "post./command": ""}},
		{name: "one word", set: map[string]string{"pre./command": "/sbin/sync"}, pre: &hooks.Hook{Command: []string{"/sbin/sync"}}},
		{name: "one word with blanks, no shell", set: map[string]string{"pre./command": "echo hi"}, pre: &hooks.Hook{Command: []string{"echo hi"}}},
		{name: "array", set: map[string]string{"post./command": `["sh", "-c", "sync; sync"]`}, post: &hooks.Hook{Command: []string{"sh", "-c", "sync; sync"}}},
		{name: "array after blanks", set: map[string]string{"pre./command": "\n [\"a\"]\n"}, pre: &hooks.Hook{Command: []string{"a"}}},
		{name: "empty array", set: map[string]string{"pre./command": `[]`}, pre: &hooks.Hook{Command: []string{}}},
		{
			name: "malformed array is one literal word", set: map[string]string{"pre./command": `["a", b]`},
			pre:     &hooks.Hook{Command: []string{`["a", b]`}},
			warning: "pre.hook.backup.velero.io/command: begins like a JSON array",
		},
		{
			name: "array of numbers", set: map[string]string{"pre./command": `[1]`},
			pre: &hooks.Hook{Command: []string{`[1]`}}, warning: "pre.hook.backup.velero.io/command: begins like",
		},
		{name: "legacy keys count as pre", set: map[string]string{"/command": "a", "/container": "db", "/on-error": "Continue", "/timeout": "5s"},
			pre: &hooks.Hook{Command: []string{"a"}, Container: "db", OnError: "Continue", Timeout: 5 * second}},
		{name: "pre beats legacy, with all of its keys", set: map[string]string{"/command": "a", "/timeout": "5s", "pre./command": "b"},
			pre: &hooks.Hook{Command: []string{"b"}}},
		{name: "both phases", set: map[string]string{"pre./command": "a", "post./command": "b", "post./container": "db"},
			pre: &hooks.Hook{Command: []string{"a"}}, post: &hooks.Hook{Command: []string{"b"}, Container: "db"}},
		{name: "on-error Fail", set: map[string]string{"pre./command": "a", "pre./on-error": "Fail"}, pre: &hooks.Hook{Command: []string{"a"}}},
		{name: "on-error of another spelling", set: map[string]string{"pre./command": "a", "pre./on-error": "continue"},
			pre: &hooks.Hook{Command: []string{"a"}}, warning: `pre.hook.backup.velero.io/on-error: "continue" is neither Continue nor Fail; taken as Fail`},
		{name: "timeout", set: map[string]string{"pre./command": "a", "pre./timeout": "1m30s"}, pre: &hooks.Hook{Command: []string{"a"}, Timeout: 90 * second}},
		{name: "timeout zero", set: map[string]string{"pre./command": "a", "pre./timeout": "0"}, pre: &hooks.Hook{Command: []string{"a"}}},
		{name: "timeout without a unit", set: map[string]string{"pre./command": "a", "pre./timeout": "90"},
			pre: &hooks.Hook{Command: []string{"a"}}, warning: `pre.hook.backup.velero.io/timeout: "90" is not a duration such as 90s or 5m; taken as 30s`},
		{name: "timeout negative, legacy", set: map[string]string{"/command": "a", "/timeout": "-5s"},
			pre: &hooks.Hook{Command: []string{"a"}}, warning: `annotation hook.backup.velero.io/timeout: "-5s" is negative; taken as 30s`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			pod := hooks.Pod{Annotations: map[string]string{}}
			for key, value := range c.set {
				pod.Annotations[strings.Replace(key, "/", "hook.backup.velero.io/", 1)] = value
			}
			got := new(hooks.Hooks).Of(pod)
			want := hooks.Plan{Pre: withDefaults(c.pre, velerov1.HookErrorModeFail), Post: withDefaults(c.post, velerov1.HookErrorModeContinue)}
			ignore := cmpopts.IgnoreFields(hooks.Hook{}, "Source", "Warnings")
			if diff := cmp.Diff(want, got, ignore); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var warnings []string
			for _, h := range append(got.Pre, got.Post...) {
				warnings = append(warnings, h.Warnings...)
			}
			if text := strings.Join(warnings, "\n"); !strings.Contains(text, c.warning) || (c.warning == "") != (text == "") {
				t.Errorf("warnings %q, want one with %q", text, c.warning)
			}
		})
	}
}

// withDefaults is the list of the hook, or no list.
func withDefaults(h *hooks.Hook, mode velerov1.HookErrorMode) []hooks.Hook {
	if h == nil {
		return nil
	}
	if h.OnError == "" {
		h.OnError = mode
	}
	if h.Timeout == 0 {
		h.Timeout = 30 * time.Second
	}
	return []hooks.Hook{*h}
}

// A warning is read by many; a command may hold a password.
func TestWarningHidesCommand(t *testing.T) {
	t.Parallel()
	plan := new(hooks.Hooks).Of(hooks.Pod{Annotations: map[string]string{"pre.hook.backup.velero.io/command": `["mysql", "-ps3cr3t"`}})
	if text := strings.Join(plan.Pre[0].Warnings, " "); text == "" || strings.Contains(text, "s3cr3t") {
		t.Errorf("warning %q", text)
	}
}

func TestAnnotationBeatsSpec(t *testing.T) {
	t.Parallel()
	h := build(t, entry("spec", func(s *velerov1.BackupResourceHookSpec) {
		s.PostHooks = []velerov1.BackupResourceHook{command("spec-post")}
	}))
	for _, c := range []struct{ name, key, value, pre, post string }{
		{"none", "other", "x", "spec", "spec-post"},
		{"pre", "pre.hook.backup.velero.io/command", "mine", "mine", "spec-post"},
		{"legacy", "hook.backup.velero.io/command", "mine", "mine", "spec-post"},
		{"post", "post.hook.backup.velero.io/command", "mine", "spec", "mine"},
		{"empty", "pre.hook.backup.velero.io/command", "", "spec", "spec-post"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plan := h.Of(hooks.Pod{Annotations: map[string]string{c.key: c.value}})
			if pre, post := programs(plan.Pre), programs(plan.Post); pre != c.pre || post != c.post {
				t.Errorf("pre %q, post %q; want %q, %q", pre, post, c.pre, c.post)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	type spec = velerov1.BackupResourceHookSpec
	for _, c := range []struct {
		name   string
		change func(*spec)
		want   string // empty: nothing is wrong
	}{
		{"good", func(s *spec) { s.IncludedNamespaces = []string{"a-*"} }, ""},
		{"no exec", func(s *spec) { s.PreHooks[0].Exec = nil }, "hooks.resources[1].pre[0].exec: is missing"},
		{"no command", func(s *spec) { s.PreHooks[0].Exec.Command = nil }, "hooks.resources[1].pre[0].exec.command: names no program"},
		{"empty program", func(s *spec) { s.PreHooks[0].Exec.Command = []string{""} }, "hooks.resources[1].pre[0].exec.command: names no program"},
		{"onError", func(s *spec) { s.PreHooks[0].Exec.OnError = "Ignore" }, `hooks.resources[1].pre[0].exec.onError: "Ignore" is neither Continue nor Fail`},
		{"negative timeout", func(s *spec) {
			s.PostHooks = []velerov1.BackupResourceHook{command("a"), command("b", func(e *velerov1.ExecHook) { e.Timeout.Duration = -time.Second })}
		}, "hooks.resources[1].post[1].exec.timeout: -1s is negative"},
		{"selector", func(s *spec) {
			s.LabelSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}
		}, `hooks.resources[1]: labelSelector: `},
		{"namespace", func(s *spec) { s.ExcludedNamespaces = []string{"Shop"} }, `hooks.resources[1]: excludedNamespaces: "Shop"`},
		{"namespace in both lists", func(s *spec) {
			s.IncludedNamespaces, s.ExcludedNamespaces = []string{"a"}, []string{"a"}
		}, `hooks.resources[1]: "a" is in both`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			written := velerov1.BackupHooks{Resources: []spec{entry("first"), entry("second", c.change)}}
			problems := strings.Join(hooks.Validate(written), "\n")
			if !strings.Contains(problems, c.want) || (c.want == "") != (problems == "") {
				t.Errorf("problems %q, want one with %q", problems, c.want)
			}
			if _, err := hooks.New(written, resolve); (err == nil) != (c.want == "") {
				t.Errorf("New: %v", err)
			}
		})
	}
}

// One run tells all that is wrong.
func TestNewJoinsProblems(t *testing.T) {
	t.Parallel()
	bad := func(s *velerov1.BackupResourceHookSpec) { s.PreHooks[0].Exec = &velerov1.ExecHook{OnError: "x"} }
	_, err := hooks.New(velerov1.BackupHooks{Resources: []velerov1.BackupResourceHookSpec{entry("a", bad), entry("b", bad)}}, resolve)
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("want four problems in lines of their own, got %v", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	h := build(t, entry("fine"), entry("never", func(s *velerov1.BackupResourceHookSpec) { s.IncludedResources = []string{"deploy"} }))
	if got := h.Warnings(); len(got) != 1 || !strings.HasPrefix(got[0], "hooks.resources[1]: ") {
		t.Errorf("warnings %q", got)
	}
}

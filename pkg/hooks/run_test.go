package hooks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/exec"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// fake is an Executor made of a function, which is given the command as a line.
type fake struct {
	mu  sync.Mutex
	ran []string // container: command
	run func(ctx context.Context, line string, stdout, stderr io.Writer) error
}

func (f *fake) Exec(ctx context.Context, _, _, container string, command []string, stdout, stderr io.Writer) error {
	line := strings.Join(command, " ")
	f.mu.Lock()
	f.ran = append(f.ran, container+": "+line)
	f.mu.Unlock()
	if f.run == nil {
		return nil
	}
	return f.run(ctx, line, stdout, stderr)
}

// exits is a command that ends with a status.
func exits(code int) error {
	return exec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
}

// runner has a fake that runs run, and returns what is logged.
func runner(run func(ctx context.Context, line string, stdout, stderr io.Writer) error) (*hooks.Runner, *fake, *bytes.Buffer) {
	f, log := &fake{run: run}, &bytes.Buffer{}
	return &hooks.Runner{Exec: f, Log: slog.New(slog.NewTextHandler(log, nil))}, f, log
}

// web is a pod with two containers.
var web = hooks.Pod{Namespace: "shop", Name: "web-0", Phase: corev1.PodRunning, Containers: []string{"app", "db"}}

// list makes hooks out of programs: one that ends in "?" has onError Continue, one
// in "!" Fail, the others none.
func list(programs ...string) []hooks.Hook {
	var made []hooks.Hook
	for i, p := range programs {
		h := hooks.Hook{Source: fmt.Sprintf("hooks.resources[0].pre[%d]", i), Name: "quiesce"}
		if name, ok := strings.CutSuffix(p, "?"); ok {
			p, h.OnError = name, velerov1.HookErrorModeContinue
		}
		if name, ok := strings.CutSuffix(p, "!"); ok {
			p, h.OnError = name, velerov1.HookErrorModeFail
		}
		h.Command = []string{p}
		made = append(made, h)
	}
	return made
}

func TestRun(t *testing.T) {
	t.Parallel()
	ended := web
	ended.Phase = corev1.PodSucceeded
	failed := web
	failed.Phase = corev1.PodFailed
	for _, c := range []struct {
		name     string
		pod      hooks.Pod
		phase    string
		programs string
		ran      string
		failures int
		blocked  bool
	}{
		{"none", web, hooks.Pre, "", "", 0, false},
		{"in order", web, hooks.Pre, "a b c", "a b c", 0, false},
		{"Fail ends the phase", web, hooks.Pre, "a bad c", "a bad", 1, true},
		{"Continue goes on", web, hooks.Pre, "a bad? c", "a bad c", 1, false},
		{"Continue, then Fail", web, hooks.Pre, "bad? bad c d", "bad bad", 2, true},
		{"unset in post goes on: what follows may thaw the application", web, hooks.Post, "bad b bad c", "bad b bad c", 2, false},
		{"Continue in post", web, hooks.Post, "bad? b", "bad b", 1, false},
		{"Fail in post ends the phase", web, hooks.Post, "bad bad! c", "bad bad", 2, true},
		{"a pod that succeeded", ended, hooks.Pre, "bad b", "", 0, false},
		{"a pod that failed", failed, hooks.Pre, "bad b", "", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, f, _ := runner(func(_ context.Context, line string, _, _ io.Writer) error {
				if line == "bad" {
					return exits(1)
				}
				return nil
			})
			given := list(strings.Fields(c.programs)...)
			failures, blocked := r.Run(t.Context(), c.pod, c.phase, given)
			if got := strings.ReplaceAll(strings.Join(f.ran, " "), "app: ", ""); got != c.ran {
				t.Errorf("ran %q, want %q", got, c.ran)
			}
			if len(failures) != c.failures || blocked != c.blocked {
				t.Errorf("failures %v, blocked %v", failures, blocked)
			}
			if r.Attempted() != len(given) || r.Failed() != c.failures {
				t.Errorf("attempted %d, failed %d; want %d, %d", r.Attempted(), r.Failed(), len(given), c.failures)
			}
		})
	}
}

// TestFailureText is what a person reads of a hook that failed.
func TestFailureText(t *testing.T) {
	t.Parallel()
	const prefix = `pre hook "quiesce" (hooks.resources[0].pre[0]) keeps the pod out (onError Fail, the default): `
	pods := schema.GroupResource{Resource: "pods"}
	for _, c := range []struct {
		name   string
		hook   hooks.Hook
		stderr string
		err    error
		want   string
	}{
		{
			name: "exit code and reason", hook: hooks.Hook{Command: []string{"/bin/sh", "-c", "mysql -ps3cr3t"}},
			stderr: "note\nno table\n", err: exits(3),
			want: prefix + `run "/bin/sh" with 2 arguments in container "app": exit code 3: note; no table`,
		},
		{
			name: "exit code alone", hook: hooks.Hook{Command: []string{"false"}, Container: "db"}, err: exits(1),
			want: prefix + `run "false" in container "db": exit code 1`,
		},
		{
			name: "wrapped exit code", hook: hooks.Hook{Command: []string{"false", "x"}}, err: fmt.Errorf("stream: %w", exits(1)),
			want: prefix + `run "false" with 1 argument in container "app": exit code 1`,
		},
		{
			name: "unknown container", hook: hooks.Hook{Command: []string{"x"}, Container: "cache"},
			want: prefix + `the pod has no container "cache"; hint: it has ["app" "db"]`,
		},
		{
			name: "no command", hook: hooks.Hook{Command: []string{}},
			want: prefix + `its command is an empty list`,
		},
		{
			name: "pod gone", hook: hooks.Hook{Command: []string{"x"}}, err: apierrors.NewNotFound(pods, "web-0"),
			want: prefix + `run "x" in container "app": the pod is gone: pods "web-0" not found`,
		},
		{
			name: "forbidden", hook: hooks.Hook{Command: []string{"x"}}, err: apierrors.NewForbidden(pods, "web-0", errors.New("no rights")),
			want: prefix + `run "x" in container "app": pods "web-0" is forbidden: no rights; ` +
				`hint: grant "create pods/exec" in namespace "shop" to the service account of the backup`,
		},
		{
			name: "forbidden, told in words only", hook: hooks.Hook{Command: []string{"x"}},
			err: errors.New(`unable to upgrade connection: pods "web-0" is forbidden: no rights`),
			want: prefix + `run "x" in container "app": unable to upgrade connection: pods "web-0" is forbidden: no rights; ` +
				`hint: grant "create pods/exec" in namespace "shop" to the service account of the backup`,
		},
		{
			name: "container not running", hook: hooks.Hook{Command: []string{"x"}}, err: errors.New(`unable to upgrade connection: container not found ("app")`),
			want: prefix + `run "x" in container "app": the container isn't running: unable to upgrade connection: container not found ("app")`,
		},
		{
			name: "a whole line as the program", hook: hooks.Hook{Command: []string{`mysql -p"s3cr3t"`}},
			err: errors.New(`error executing command in container: OCI runtime exec failed: exec failed: unable to start container process: ` +
				`exec: "mysql -p\"s3cr3t\"": executable file not found in $PATH`),
			want: prefix + `run "mysql…" in container "app": the program can't be started: exec: "mysql…": executable file not found in $PATH; ` +
				`hint: no shell reads the command, so give its words as a JSON array`,
		},
		{
			name: "no such program", hook: hooks.Hook{Command: []string{"mysql", "-ps3cr3t"}},
			err:  errors.New(`exec failed: unable to start container process: exec: "mysql": executable file not found in $PATH`),
			want: prefix + `run "mysql" with 1 argument in container "app": the program can't be started: exec: "mysql": executable file not found in $PATH`,
		},
		{
			name: "a broken list as the program", hook: hooks.Hook{Command: []string{`["mysql", "-ps3cr3t"`}}, err: exits(127),
			want: prefix + `run "[…" in container "app": exit code 127`,
		},
		{
			name: "a runtime that repeats arguments", hook: hooks.Hook{Command: []string{"mysql", "-ps3cr3t"}}, err: errors.New("exec [mysql -ps3cr3t]: no process"),
			want: prefix + `run "mysql" with 1 argument in container "app": exec [mysql …]: no process`,
		},
		{
			name: "no colours or controls", hook: hooks.Hook{Command: []string{"x"}}, stderr: "\x1b[31mred\x07\r\n\ttab\tbed\n\n", err: exits(1),
			want: prefix + `run "x" in container "app": exit code 1: [31mred; tab bed`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _, log := runner(func(_ context.Context, _ string, _, stderr io.Writer) error {
				_, _ = io.WriteString(stderr, c.stderr)
				return c.err
			})
			c.hook.Source, c.hook.Name = "hooks.resources[0].pre[0]", "quiesce"
			failures, blocked := r.Run(t.Context(), web, hooks.Pre, []hooks.Hook{c.hook})
			if len(failures) != 1 || !blocked {
				t.Fatalf("failures %v, blocked %v", failures, blocked)
			}
			if got := failures[0].Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if strings.Contains(log.String(), "s3cr3t") {
				t.Errorf("the log tells an argument:\n%s", log)
			}
		})
	}
}

// Callers can tell causes apart.
func TestFailureUnwraps(t *testing.T) {
	t.Parallel()
	r, _, _ := runner(func(context.Context, string, io.Writer, io.Writer) error { return exits(7) })
	failures, blocked := r.Run(t.Context(), web, hooks.Post, list("x!", "y"))
	if !blocked || r.Attempted() != 2 || r.Failed() != 1 {
		t.Errorf("blocked %v, attempted %d, failed %d", blocked, r.Attempted(), r.Failed())
	}
	var exit exec.ExitError
	if !errors.As(errors.Join(failures...), &exit) || exit.ExitStatus() != 7 {
		t.Errorf("got %v", failures)
	}
	// It is too late to keep the pod out.
	if !strings.HasPrefix(failures[0].Error(), `post hook "quiesce" (hooks.resources[0].pre[0]): run `) {
		t.Errorf("got %v", failures)
	}
}

// hangs is a command that doesn't end before its context.
func hangs(ctx context.Context, _ string, _, stderr io.Writer) error {
	_, _ = io.WriteString(stderr, "still at it\n")
	<-ctx.Done()
	return ctx.Err()
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		given, want time.Duration
	}{{0, 30 * time.Second}, {-time.Second, 30 * time.Second}, {2 * time.Minute, 2 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			r, _, _ := runner(hangs)
			given := list("x", "y")
			given[0].Timeout = c.given
			begin := time.Now()
			failures, blocked := r.Run(t.Context(), web, hooks.Pre, given)
			if took := time.Since(begin); took != c.want {
				t.Errorf("timeout %s: waited %s, want %s", c.given, took, c.want)
			}
			want := fmt.Sprintf(`run "x" in container "app": no end within %s; the command goes on running in the container: still at it`, c.want)
			if len(failures) != 1 || !blocked || !strings.HasSuffix(failures[0].Error(), want) {
				t.Errorf("failures %v, blocked %v", failures, blocked)
			}
		})
	}
}

// A backup that ends doesn't go on with hooks, whatever their onError.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	r, f, _ := runner(func(ctx context.Context, line string, stdout, stderr io.Writer) error {
		cancel(errors.New("the backup was cancelled"))
		return hangs(ctx, line, stdout, stderr)
	})
	failures, blocked := r.Run(ctx, web, hooks.Pre, list("x?", "y?"))
	if len(f.ran) != 1 || len(failures) != 1 || !blocked || r.Attempted() != 2 {
		t.Errorf("ran %q, failures %v, blocked %v", f.ran, failures, blocked)
	}
	if text := failures[0].Error(); !strings.Contains(text, "pre[0]): run ") || !strings.Contains(text, "interrupted: the backup was cancelled; the command may go on") {
		t.Errorf("got %s", text)
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	const kept = 8 << 10
	long := strings.Repeat("a", 4<<20) + "\n" + strings.Repeat("é", 300) + "\nlast line\n"
	for _, c := range []struct {
		name, text string
		chunk      int
	}{{"at once", long, len(long)}, {"in small writes", long, 1000}, {"short", "one\ntwo\n", 3}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, _, log := runner(func(_ context.Context, _ string, stdout, stderr io.Writer) error {
				for rest := c.text; rest != ""; {
					n := min(c.chunk, len(rest))
					for _, w := range []io.Writer{stdout, stderr} {
						if wrote, err := io.WriteString(w, rest[:n]); wrote != n || err != nil {
							t.Errorf("write: %d, %v", wrote, err)
						}
					}
					rest = rest[n:]
				}
				return exits(1)
			})
			failures, _ := r.Run(t.Context(), web, hooks.Pre, list("x"))
			_, cause, _ := strings.Cut(failures[0].Error(), "exit code 1: ")
			if len(cause) > 512 || !strings.HasSuffix(cause, "; last line") && cause != "one; two" && cause != "last line" {
				t.Errorf("the error's %d bytes: %q", len(cause), cause)
			}
			cut := strings.Contains(log.String(), "bytes cut]")
			if cut != (len(c.text) > kept) || log.Len() > 2*kept+2000 {
				t.Errorf("cut %v, the log has %d bytes", cut, log.Len())
			}
			for _, stream := range []string{"stdout=", "stderr="} {
				if !strings.Contains(log.String(), stream) {
					t.Errorf("the log has no %s", stream)
				}
			}
		})
	}
}

// A command can still print after its timeout, and several pods run at once.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r, _, _ := runner(func(_ context.Context, _ string, stdout, stderr io.Writer) error {
		go func() { _, _ = io.WriteString(stdout, "late") }()
		_, _ = io.WriteString(stderr, "x")
		return exits(1)
	})
	r.Log = slog.New(slog.DiscardHandler)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() { r.Run(t.Context(), web, hooks.Pre, list("a?", "b")) })
	}
	wait.Wait()
	if r.Attempted() != 100 || r.Failed() != 100 {
		t.Errorf("attempted %d, failed %d", r.Attempted(), r.Failed())
	}
}

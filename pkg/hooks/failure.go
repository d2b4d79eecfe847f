package hooks

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/exec"
)

// failure is a command that wasn't run, failed, or didn't end in time. Its text
// holds no arguments of the command.
type failure struct {
	pod       Pod
	container string
	command   []string
	stderr    string
	err       error
	// grantee is who lacks a right that is missing.
	grantee string
	// timeout is set when the command didn't end in time.
	timeout time.Duration
	// interrupted is set when the command wasn't waited for.
	interrupted error
}

// Error says what was run, what became of it, and what can be done.
func (f *failure) Error() string {
	what := fmt.Sprintf("run %s in container %q: ", describe(f.command), f.container)
	switch {
	case f.interrupted != nil:
		return what + "interrupted: " + f.interrupted.Error() + "; the command may go on running in the container"
	case f.timeout != 0:
		return what + fmt.Sprintf("no end within %s; the command goes on running in the container%s", f.timeout, f.said())
	}
	var exit exec.ExitError
	if errors.As(f.err, &exit) && exit.Exited() {
		return what + fmt.Sprintf("exit code %d%s", exit.ExitStatus(), f.said())
	}
	return what + f.explain()
}

// Unwrap returns the executor's error.
func (f *failure) Unwrap() error { return f.err }

// said is what the command printed last as its reason.
func (f *failure) said() string {
	if f.stderr == "" {
		return ""
	}
	return ": " + lastLines(f.stderr)
}

// explain is for errors that don't come from the command itself.
func (f *failure) explain() string {
	said := f.err.Error()
	text := lastLines(withoutCommand(said, f.command))
	switch {
	case apierrors.IsForbidden(f.err), strings.Contains(said, " is forbidden: "):
		return text + fmt.Sprintf("; hint: grant \"create pods/exec\" in namespace %q to the %s", f.pod.Namespace, f.grantee)
	case apierrors.IsNotFound(f.err), strings.Contains(said, fmt.Sprintf("pods %q not found", f.pod.Name)):
		return "the pod is gone: " + text
	case notRunning(said):
		return "the container isn't running: " + text
	}
	if _, reason, ok := strings.Cut(text, "unable to start container process: "); ok {
		return "the program can't be started: " + reason + f.noShell()
	}
	return text
}

// noShell is a hint for commands that were written as for a shell.
func (f *failure) noShell() string {
	if len(f.command) > 1 || !strings.ContainsAny(f.command[0], " \t") {
		return ""
	}
	return "; hint: no shell reads the command, so give its words as a JSON array"
}

// notRunning recognizes how API server, kubelet and containerd say that there is
// no process to join; the status that they send along doesn't tell.
func notRunning(text string) bool {
	for _, part := range []string{
		"container not found", "does not have a host assigned", "no running task found",
		"is in CONTAINER_EXITED state", "is not created or running", "container is not running", "cannot exec in a stopped",
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// describe tells of a command what holds no secret.
func describe(command []string) string {
	switch n := len(command) - 1; n {
	case 0:
		return strconv.Quote(program(command))
	case 1:
		return strconv.Quote(program(command)) + " with 1 argument"
	default:
		return fmt.Sprintf("%q with %d arguments", program(command), n)
	}
}

// program is the command's first word without what looks like arguments: an
// annotation can hold a whole line, or a broken list, as the name of the program.
func program(command []string) string {
	const longest = 128
	word := command[0]
	if strings.HasPrefix(word, "[") {
		return "[…"
	}
	if i := strings.IndexFunc(word, func(r rune) bool { return strings.ContainsRune(" \t\r\n;|&<>=\"'", r) }); i >= 0 {
		word = word[:i] + "…"
	}
	if len(word) > longest {
		word = strings.ToValidUTF8(word[:longest], "") + "…"
	}
	return word
}

// withoutCommand takes the command out of a text that others made: container
// runtimes quote the program, which can be a whole line, and some the arguments.
// Very short arguments are left, or they would be found in any word.
func withoutCommand(text string, command []string) string {
	const shortest = 4
	var pairs []string
	hide := func(word, shown string) {
		quoted := strconv.Quote(word)
		pairs = append(pairs, word, shown, quoted[1:len(quoted)-1], shown)
	}
	if shown := program(command); shown != command[0] {
		hide(command[0], shown)
	}
	for _, arg := range command[1:] {
		if len(arg) >= shortest {
			hide(arg, "…")
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

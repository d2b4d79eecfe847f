package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// skipped is the exit status by which a check says that it couldn't run here.
const skipped = 3

// runCheck runs one command and counts it as one test; its output is printed
// unless it passed.
func runCheck(ctx context.Context, name string, command []string, out io.Writer) (counts, error) {
	output, err := prepared(ctx, command).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		fmt.Fprintf(out, "ok   %s\n", name)
		return counts{Passed: 1}, nil
	case errors.As(err, &exit) && exit.ExitCode() == skipped:
		fmt.Fprintf(out, "%s\n", bytes.TrimSpace(output))
		return counts{Skipped: []string{name}}, nil
	case errors.As(err, &exit):
		fmt.Fprintf(out, "FAIL %s\n%s\n", name, bytes.TrimSpace(output))
		return counts{Failed: []string{name}}, nil
	}
	return counts{}, err
}

// runTests runs a command that prints `go test -json` events, and prints a line
// for each package and the output of what failed or was skipped.
func runTests(ctx context.Context, command []string, out io.Writer) (counts, error) {
	cmd := prepared(ctx, command)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return counts{}, err
	}
	if err := cmd.Start(); err != nil {
		return counts{}, fmt.Errorf("run %q: %w", command, err)
	}
	found, readErr := read(events, out)
	waitErr := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return counts{}, readErr
	case errors.As(waitErr, &exit) && len(found.Failed) == 0:
		found.Failed = []string{strings.Join(command, " ") + ": " + waitErr.Error()}
	case waitErr != nil && exit == nil:
		return counts{}, waitErr
	}
	return found, nil
}

// prepared makes a command that gets an interrupt, not a kill, when the
// program is told to end, so that its tests can clean up.
func prepared(ctx context.Context, command []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// event is a line of test2json, see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// tally follows the events of all packages, which come interleaved.
type tally struct {
	out io.Writer
	counts
	// output collects what each test, package or build printed.
	output map[string]*strings.Builder
	// parents are the tests that have subtests; they aren't counted, unless one
	// fails by itself. blamed are those with a subtest that failed.
	parents, blamed map[string]bool
	// failures counts failed tests by package.
	failures map[string]int
}

func read(events io.Reader, out io.Writer) (counts, error) {
	t := &tally{
		out: out, output: map[string]*strings.Builder{},
		parents: map[string]bool{}, blamed: map[string]bool{}, failures: map[string]int{},
	}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			t.line(line)
		}
		if errors.Is(err, io.EOF) {
			return t.counts, nil
		}
		if err != nil {
			return t.counts, err
		}
	}
}

func (t *tally) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		fmt.Fprintf(t.out, "%s", line) // not every line of go is an event
		return
	}
	key := e.Package + e.ImportPath + " " + e.Test
	switch {
	case e.Action == "output" || e.Action == "build-output":
		if t.output[key] == nil {
			t.output[key] = &strings.Builder{}
		}
		t.output[key].WriteString(e.Output)
	case e.Action == "build-fail":
		fmt.Fprint(t.out, t.text(key))
	case e.Action == "run":
		if parent := strings.LastIndex(e.Test, "/"); parent >= 0 {
			t.parents[e.Package+" "+e.Test[:parent]] = true
		}
	case e.Test != "":
		t.test(e, key)
	default:
		t.pkg(e, key)
	}
}

func (t *tally) text(key string) string {
	if t.output[key] == nil {
		return ""
	}
	return t.output[key].String()
}

func (t *tally) test(e event, key string) {
	switch e.Action {
	case "pass":
		if !t.parents[key] {
			t.Passed++
		}
	case "fail":
		t.failures[e.Package]++
		fmt.Fprint(t.out, t.text(key))
		if !t.blamed[key] {
			t.Failed = append(t.Failed, name(e.Package)+" "+e.Test)
		}
		if parent := strings.LastIndex(e.Test, "/"); parent >= 0 {
			t.blamed[e.Package+" "+e.Test[:parent]] = true
		}
	case "skip":
		fmt.Fprint(t.out, t.text(key))
		t.Skipped = append(t.Skipped, e.Test)
	default:
		return
	}
	delete(t.output, key)
}

func (t *tally) pkg(e event, key string) {
	elapsed := time.Duration(e.Elapsed * float64(time.Second)).Round(10 * time.Millisecond)
	switch e.Action {
	case "pass":
		fmt.Fprintf(t.out, "ok   %s %s\n", name(e.Package), elapsed)
	case "fail":
		fmt.Fprintf(t.out, "FAIL %s %s\n", name(e.Package), elapsed)
		if t.failures[e.Package] == 0 { // a build, a panic, a time limit, TestMain
			fmt.Fprint(t.out, t.text(key))
			t.Failed = append(t.Failed, name(e.Package))
		}
	}
}

// name is an import path without the module's name.
func name(pkg string) string {
	const module = "github.com/kubectl-velero/kubectl-velero"
	if rest := strings.TrimPrefix(pkg, module); rest != pkg {
		return "." + rest
	}
	return pkg
}

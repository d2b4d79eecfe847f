// Package console runs commands in front of a person: it prints each one as it
// could be typed, then what the command prints. The end-to-end tests use it too,
// with a log in place of the terminal.
package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Console runs commands in one environment, one at a time.
type Console struct {
	// Dir is the working directory.
	Dir string
	// Env is the whole environment of the commands; PATH in it finds them.
	Env []string
	// Out gets the commands and their output.
	Out io.Writer
	// Quiet prints neither; only errors carry the output.
	Quiet bool
}

// Result is how a command ended.
type Result struct {
	// Stdout and Stderr are complete.
	Stdout, Stderr string
	// Code is the exit status, -1 after a signal.
	Code int
}

// Say prints a line of explanation.
func (c *Console) Say(format string, args ...any) {
	if !c.Quiet {
		fmt.Fprintf(c.Out, format+"\n", args...)
	}
}

// Run prints and runs a command, which must end with status 0.
func (c *Console) Run(ctx context.Context, command ...string) error {
	result, err := c.Try(ctx, command...)
	if err != nil {
		return err
	}
	if result.Code != 0 {
		return &CommandError{Command: command, Result: result}
	}
	return nil
}

// Try prints and runs a command, whatever its exit status. The error is about
// starting it, or about ctx.
func (c *Console) Try(ctx context.Context, command ...string) (Result, error) {
	c.Say("$ %s", Quote(command))
	var stdout, stderr bytes.Buffer
	cmd, err := c.command(ctx, command)
	if err != nil {
		return Result{}, err
	}
	cmd.Stdout, cmd.Stderr = io.Writer(&stdout), io.Writer(&stderr)
	if !c.Quiet {
		terminal := &locked{w: c.Out}
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&stdout, terminal), io.MultiWriter(&stderr, terminal)
	}
	err = cmd.Run()
	result := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("run %s: %w", Quote(command), context.Cause(ctx))
	case errors.As(err, &exit):
		result.Code = exit.ExitCode()
	case err != nil:
		return result, fmt.Errorf("run %s: %w", Quote(command), err)
	}
	return result, nil
}

// locked lets both streams of a command share one writer.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// command prepares a command that is interrupted, not killed, when ctx ends.
func (c *Console) command(ctx context.Context, command []string) (*exec.Cmd, error) {
	path, err := lookPath(command[0], c.Env)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, command[1:]...)
	// kubectl finds plugins, and programs their names, by what they are called.
	cmd.Args[0] = command[0]
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	return cmd, nil
}

// CommandError is a command that ended with another status than 0.
type CommandError struct {
	Command []string
	Result  Result
}

func (e *CommandError) Error() string {
	text := fmt.Sprintf("%s: exit status %d", Quote(e.Command), e.Result.Code)
	if said := strings.TrimSpace(e.Result.Stderr); said != "" {
		text += "\n" + said
	}
	return text
}

var plain = regexp.MustCompile(`^[-+=:,./_@%A-Za-z0-9]+$`)

// Quote writes a command as a shell would read it.
func Quote(command []string) string {
	words := make([]string, len(command))
	for i, word := range command {
		words[i] = word
		if !plain.MatchString(word) {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

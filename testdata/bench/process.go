package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// processCommand runs a program and tells what it took.
const processCommand = "process"

// taken is what a process took.
type taken struct {
	// Seconds from its start to its exit.
	Seconds float64 `json:"seconds"`
	// CPUSeconds are those of the process itself, user and system.
	CPUSeconds float64 `json:"cpuSeconds"`
	// PeakRSSBytes is the most memory it held at once.
	PeakRSSBytes int64 `json:"peakRSSBytes"`
	ExitCode     int   `json:"exitCode"`
	// output is what it wrote to stdout.
	output []byte
}

// run runs a program as a grandchild: on Linux a process begins with the peak of
// the one that forked it, and the bench holds more than an executor may.
func (b *bed) run(ctx context.Context, stdin []byte, program string, args ...string) (*taken, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.folder, "process.json")
	command := exec.CommandContext(ctx, self, append([]string{processCommand, file, program}, args...)...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = time.Minute
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w\n%s", program, err, stderr.Bytes())
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &taken{output: stdout.Bytes()}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, err
	}
	if t.ExitCode != 0 {
		return nil, fmt.Errorf("%s ended with exit code %d:\n%s", program, t.ExitCode, stderr.Bytes())
	}
	return t, nil
}

// runProcess is the process between: it writes what its child took to the file
// that args names first.
func runProcess(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	file, program := args[0], args[1]
	command := exec.CommandContext(ctx, program, args[2:]...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	begin := time.Now()
	err := command.Run()
	took := time.Since(begin)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return fmt.Errorf("peak memory of a process isn't known on %s", runtime.GOOS)
	}
	body, err := json.Marshal(taken{
		Seconds:      took.Seconds(),
		CPUSeconds:   (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds(),
		PeakRSSBytes: usage.Maxrss * maxrssUnit(),
		ExitCode:     command.ProcessState.ExitCode(),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// maxrssUnit is what getrusage counts memory in.
func maxrssUnit() int64 {
	if runtime.GOOS == "darwin" {
		return 1
	}
	return 1 << 10
}

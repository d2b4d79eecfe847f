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
	"strconv"
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
	// PeakRSSBytes is the most memory it held at once, PeakAnonBytes the most of
	// that without its program and other files, sampled, and only on Linux.
	PeakRSSBytes  int64 `json:"peakRSSBytes"`
	PeakAnonBytes int64 `json:"peakAnonBytes,omitempty"`
	ExitCode      int   `json:"exitCode"`
	// output is what it wrote to stdout.
	output []byte
}

// run runs a program and measures it.
func (b *bed) run(ctx context.Context, stdin []byte, program string, args ...string) (*taken, error) {
	return runMeasured(ctx, b.folder, stdin, program, args...)
}

// runMeasured runs a program as a grandchild: on Linux a process begins with the
// peak of the one that forked it, and the bench holds more than an executor may.
// folder is for a file between them.
func runMeasured(ctx context.Context, folder string, stdin []byte, program string, args ...string) (*taken, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "process.json")
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
	err := command.Start()
	var anonymous int64
	if err == nil {
		peak := samplePeak(command.Process.Pid)
		err = command.Wait()
		anonymous = peak()
	}
	took := time.Since(begin)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return err
	}
	usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return fmt.Errorf("peak memory of a process isn't known on %s", runtime.GOOS)
	}
	body, err := json.Marshal(taken{
		Seconds:       took.Seconds(),
		CPUSeconds:    (command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Seconds(),
		PeakRSSBytes:  usage.Maxrss * maxrssUnit(),
		PeakAnonBytes: anonymous,
		ExitCode:      command.ProcessState.ExitCode(),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// sampleEvery is short enough for a heap that grows and is collected, and long
// enough not to disturb what is measured.
const sampleEvery = 10 * time.Millisecond

// samplePeak watches the anonymous memory of a process until the function that it
// returns is called, which tells the peak in bytes.
func samplePeak(pid int) (stop func() int64) {
	ended, peak := make(chan struct{}), make(chan int64)
	go func() {
		ticker := time.NewTicker(sampleEvery)
		defer ticker.Stop()
		var most int64
		for {
			select {
			case <-ended:
				peak <- most
				return
			case <-ticker.C:
				most = max(most, anonymousMemory(pid))
			}
		}
	}()
	return func() int64 {
		close(ended)
		return <-peak
	}
}

// anonymousMemory is in bytes; 0 where the system doesn't tell it, or the process
// is gone.
func anonymousMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("\nRssAnon:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB"))
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

// maxrssUnit is what getrusage counts memory in.
func maxrssUnit() int64 {
	if runtime.GOOS == "darwin" {
		return 1
	}
	return 1 << 10
}

package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// How long a server may take to end before it is killed, and then to be gone.
const (
	serverStopTimeout = 5 * time.Second
	serverGoneTimeout = time.Minute
)

// serverProcess is a server that runs as a child of ours.
type serverProcess struct {
	// PID is its process id.
	PID int

	name   string
	log    string
	exited chan struct{} // closed when the process has ended
}

// serverCommand says how to start a server.
type serverCommand struct {
	name    string // for a person
	program string
	args    []string
	env     []string // added to ours
	root    string   // its working directory, with the log
	listen  string   // host:port where it will answer
	pidFile string   // if not empty, the server outlives this process
	ready   time.Duration
	// answers, if not nil, says that it serves, for one that listens before.
	answers func(context.Context) error
}

// start starts the server and returns when it takes connections. ctx bounds only
// that.
func (c serverCommand) start(ctx context.Context) (*serverProcess, error) {
	p, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("start %s at %s: %w", c.name, c.listen, err)
	}
	answers := c.answers
	if answers == nil {
		answers = func(ctx context.Context) error { return connect(ctx, c.listen) }
	}
	err = p.waitReady(ctx, answers, c.ready)
	if err == nil && c.pidFile != "" {
		err = os.WriteFile(c.pidFile, []byte(strconv.Itoa(p.PID)+"\n"), 0o644)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s at %s: %w", c.name, c.listen, err), p.Stop())
	}
	return p, nil
}

func (c serverCommand) launch() (*serverProcess, error) {
	p := &serverProcess{name: c.name, log: filepath.Join(c.root, "log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the server has its own
	server := exec.Command(c.program, c.args...)
	server.Env = append(os.Environ(), c.env...)
	server.Stdout, server.Stderr = log, log
	server.Dir = c.root
	server.SysProcAttr = processAttributes(c.pidFile != "")
	if err := server.Start(); err != nil {
		return nil, err
	}
	p.PID = server.Process.Pid
	go func() {
		defer close(p.exited)
		_ = server.Wait() // its log says more
	}()
	return p, nil
}

// errExited says that a server ended before it served.
var errExited = errors.New("it exited")

// startTries is how often a server that exits at once is started.
const startTries = 3

// startAt starts a server that listens at this address. With port 0 one that
// exits at once, as on a port that another took first, is started again on
// another port.
func startAt[Server any](listen string, start func() (Server, error)) (Server, error) {
	var failures []error
	for {
		server, err := start()
		if err == nil {
			return server, nil
		}
		failures = append(failures, err)
		_, port, _ := net.SplitHostPort(listen)
		if !errors.Is(err, errExited) || listen != "" && port != "0" || len(failures) == startTries {
			return server, errors.Join(failures...)
		}
	}
}

// lastWords are the last bytes of the server's log, which is gone with the folder
// of a test.
func (p *serverProcess) lastWords() string {
	const most = 512
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strconv.Quote(string(log[max(0, len(log)-most):]))
}

func connect(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *serverProcess) waitReady(ctx context.Context, answers func(context.Context) error, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%w: %s; hint: see %s", errExited, p.lastWords(), p.log)
		case <-ctx.Done():
			return fmt.Errorf("it doesn't answer: %w; hint: see %s", err, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server; one that has ended is fine. Its folder stays.
func (p *serverProcess) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (p *serverProcess) Kill() error { return p.end(syscall.SIGKILL) }

func (p *serverProcess) end(signal syscall.Signal) error {
	if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s, process %d: %w", p.name, p.PID, err)
	}
	patience := serverStopTimeout
	if signal == syscall.SIGKILL {
		patience = serverGoneTimeout
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(patience):
	}
	if signal == syscall.SIGKILL {
		return fmt.Errorf("stop %s, process %d: it is still there", p.name, p.PID)
	}
	return p.end(syscall.SIGKILL)
}

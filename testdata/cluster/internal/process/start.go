package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Command is a program to start in the background.
type Command struct {
	Name string   // for messages
	Path string   // absolute
	Args []string // without the program's name
	Env  []string // whole environment; nil inherits
	Dir  string   // working directory
	Log  string   // file that takes both outputs; what it held is dropped
}

// Running is a program started by this process.
type Running struct {
	Name string
	ID   ID

	log  string
	done chan struct{} // closed when the program has ended
	err  error         // why; to be read once done is closed
}

// Start starts c in a session of its own, so that it outlives this process and
// its terminal.
func Start(c Command) (*Running, error) {
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	r := &Running{Name: c.Name, log: c.Log, done: make(chan struct{})}
	if r.ID, err = Identify(cmd.Process.Pid); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	// Nobody waits for this goroutine: it ends with the program, or with us.
	go func() {
		r.err = cmd.Wait()
		close(r.done)
	}()
	return r, nil
}

// Done is closed when the program has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Err says why the program ended and how its log ends; nil while it runs.
func (r *Running) Err() error {
	select {
	case <-r.done:
	default:
		return nil
	}
	cause := r.err
	if cause == nil {
		cause = fmt.Errorf("exit status 0")
	}
	return fmt.Errorf("%s ended: %w; log %s ends:\n%s", r.Name, cause, r.log, Tail(r.log, 20))
}

// Tail returns the last lines of a log, each indented and cut to a readable
// length; what can't be read is said in its place.
func Tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "  " + err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	const width = 400
	for i, line := range all {
		if len(line) > width {
			line = line[:width] + "…"
		}
		all[i] = "  " + line
	}
	return strings.Join(all, "\n")
}

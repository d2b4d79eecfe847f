package process

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " 1 21 21 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 223684 1 2 3"
	for name, test := range map[string]struct {
		stat  string
		state byte
		start uint64
		ok    bool
	}{
		"plain":         {"21 (etcd) S" + rest, 'S', 223684, true},
		"nasty name":    {"21 (a) Z (b c) R" + rest, 'R', 223684, true},
		"no name":       {"21 etcd S" + rest, 0, 0, false},
		"too short":     {"21 (etcd) S 1 2", 0, 0, false},
		"start is text": {"21 (etcd) S" + strings.Replace(rest, "223684", "x", 1), 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, start, err := parseStat(test.stat)
			if state != test.state || start != test.start || (err == nil) != test.ok {
				t.Errorf("got %c, %d, %v", state, start, err)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	self, err := Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.Alive() {
		t.Error("this process isn't alive")
	}
	// A process that has the number of one that was recorded isn't that one.
	for name, other := range map[string]ID{
		"none":         {},
		"started else": {PID: self.PID, Start: self.Start + 1, Boot: self.Boot},
		"other boot":   {PID: self.PID, Start: self.Start, Boot: "x"},
	} {
		if other.Alive() {
			t.Errorf("%s: alive", name)
		}
		if err := other.Signal(syscall.SIGKILL); err != nil {
			t.Errorf("%s: signal: %v", name, err)
		}
	}
}

func TestStartAndKill(t *testing.T) {
	t.Parallel()
	r, err := Start(Command{Name: "sleeper", Path: "/bin/sleep", Args: []string{"60"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	if !r.ID.Alive() || r.Err() != nil {
		t.Errorf("alive %v, error %v", r.ID.Alive(), r.Err())
	}
	if err := r.ID.Kill(5 * time.Second); err != nil {
		t.Error(err)
	}
	if r.ID.Alive() {
		t.Error("killed, but alive")
	}
	<-r.Done()
}

func TestStartThatFails(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	r, err := Start(Command{Name: "server", Path: "/bin/sh", Args: []string{"-c", "echo no such port; exit 3"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	want := "server ended: exit status 3; log " + log + " ends:\n  no such port"
	if got := r.Err(); got == nil || got.Error() != want {
		t.Errorf("got %v\nwant %s", got, want)
	}
	if _, err := Start(Command{Name: "server", Path: "/no/such", Log: log}); err == nil || !strings.Contains(err.Error(), "start server") {
		t.Errorf("program that isn't there: got %v", err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("a\nb\n"+strings.Repeat("c", 500)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := Tail(log, 2), "  b\n  "+strings.Repeat("c", 400)+"…"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Tail(log+".not", 2); !strings.Contains(got, "no such file") {
		t.Errorf("got %q", got)
	}
}

func TestMentioning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := Start(Command{Name: "x", Path: "/bin/sh", Args: []string{"-c", "sleep 60; true", dir}, Log: filepath.Join(dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-r.ID.PID, syscall.SIGKILL) }) //nolint:errcheck // it has its own session
	for range 100 {
		if found, err := Mentioning(dir); err == nil && len(found) == 1 && strings.Contains(found[0], "/bin/sh") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	found, err := Mentioning(dir)
	t.Errorf("got %v, %v", found, err)
}

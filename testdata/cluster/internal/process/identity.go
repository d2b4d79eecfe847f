// Package process starts programs that outlive this one, and finds them again
// by an identity that a recycled process id can't fake.
package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ID tells a process apart from every other one, also from a later one with
// the same number. It is written to disk as JSON. The zero value is no process.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot, field 22 of /proc/PID/stat
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

// Identify returns the identity of the running process pid.
func Identify(pid int) (ID, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	_, start, err := parseStat(string(stat))
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	boot, err := bootID()
	if err != nil {
		return ID{}, err
	}
	return ID{PID: pid, Start: start, Boot: boot}, nil
}

// Alive reports whether the process still runs. One that has ended and waits
// for its parent (a zombie) doesn't.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id.PID), "stat"))
	if err != nil {
		return false
	}
	state, start, err := parseStat(string(stat))
	if err != nil || start != id.Start || state == 'Z' || state == 'X' {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == id.Boot
}

// Signal sends sig to the process if it still runs; if it doesn't, nothing
// happens.
func (id ID) Signal(sig syscall.Signal) error {
	// The handle (a pidfd) is taken before the identity is checked: from then
	// on the number can't be given to another process unnoticed.
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return fmt.Errorf("find process %d: %w", id.PID, err)
	}
	defer p.Release() //nolint:errcheck // nothing to lose
	if !id.Alive() {
		return nil
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// Kill ends the process at once and waits until it is gone, at most patience.
func (id ID) Kill(patience time.Duration) error {
	if err := id.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); id.Alive(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d still runs %s after it was killed", id.PID, patience)
		}
	}
	return nil
}

// parseStat reads state and start time from a line of /proc/PID/stat. The
// program's name, in parentheses, may itself hold spaces and parentheses.
func parseStat(stat string) (state byte, start uint64, err error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("parse stat %q: no program name", stat)
	}
	fields := strings.Fields(stat[end+1:])
	const startField = 22 - 3 // fields holds the line from field 3 on
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("parse stat %q: only %d fields", stat, len(fields)+2)
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("parse stat %q: %w", stat, err)
	}
	return fields[0][0], start, nil
}

func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// session runs the writer on volumes until the test asks it to stop.
func session(t *testing.T, control string, volumes []string, ended func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx, append([]string{"run", control}, volumes...), &bytes.Buffer{}) }()
	if err := ended(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// reach waits until a record is on all volumes.
func reach(t *testing.T, control, want string) func() error {
	return func() error {
		for {
			if body, _ := os.ReadFile(filepath.Join(control, syncedFile)); len(strings.TrimSpace(string(body))) >= len(want) {
				return nil
			}
			if t.Context().Err() != nil {
				return t.Context().Err()
			}
			time.Sleep(interval)
		}
	}
}

func TestWriterContinues(t *testing.T) {
	t.Parallel()
	control, one, two := t.TempDir(), t.TempDir(), t.TempDir()
	session(t, control, []string{one, two}, reach(t, control, "10"))
	before := read(t, one)
	// The other one lost its end, in the middle of a record.
	if err := os.Truncate(filepath.Join(two, recordsFile), 3*recordSize+5); err != nil {
		t.Fatal(err)
	}
	stopped := func() error { return run(t.Context(), []string{"stop", one}, &bytes.Buffer{}) }
	session(t, control, []string{one, two}, stopped)
	after := read(t, one)
	if !strings.HasPrefix(after, before) {
		t.Error("the writer changed what was there")
	}
	for volume, body := range map[string]string{one: after, two: read(t, two)} {
		for n := 1; n <= len(body)/recordSize; n++ {
			if got := body[(n-1)*recordSize : n*recordSize]; got != record(n) {
				t.Fatalf("%s: record %d is %q", volume, n, got)
			}
		}
	}

	// What is stopped stays as it is.
	session(t, control, []string{one, two}, stopped)
	if read(t, one) != after {
		t.Error("the writer wrote though it was stopped")
	}
}

func read(t *testing.T, volume string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(volume, recordsFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	volume := t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, recordsFile), []byte(strings.Repeat("x", recordSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"dance"}, {"run", volume}, {"run", t.TempDir(), volume}, {"stop"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"default": true, "test-store-42": true, "0": true,
		"": false, "..": false, "a/b": false, "-a": false, "a-": false, "Upper": false, strings.Repeat("a", 64): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	one, other := Folder{Root: "/home/one/.testbed"}, Folder{Root: "/home/other/.testbed"}
	ids := map[string]bool{}
	for _, id := range []string{one.ID("a"), one.ID("b"), other.ID("a"), other.ID("b")} {
		ids[id] = true
		if len(id) > 15 {
			t.Errorf("ID %q is longer than the name of a network interface can be", id)
		}
	}
	if len(ids) != 4 {
		t.Errorf("IDs of different clusters are the same: %v", ids)
	}
	if !strings.HasPrefix(one.ID("a"), one.IDPrefix()) || strings.HasPrefix(other.ID("a"), one.IDPrefix()) {
		t.Errorf("prefix %q doesn't tell the state folders apart", one.IDPrefix())
	}
}

func TestSearchUp(t *testing.T) {
	t.Parallel()
	repository := t.TempDir()
	deep := filepath.Join(repository, "pkg", "store")
	source := filepath.Join(repository, "testdata")
	for _, dir := range []string{deep, filepath.Join(source, "cluster")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := searchUp(deep); ok {
		t.Errorf("without go.mod: got %q", got)
	}
	if err := os.WriteFile(filepath.Join(source, "cluster", "go.mod"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := searchUp(deep); !ok || got != source {
		t.Errorf("got %q, %v, want %q", got, ok, source)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "folder", "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	hurry, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(hurry, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("lock that is held: got %v, want a deadline exceeded", err)
	}
	// Who waits must notice that the file it waits for isn't there any more.
	waited := make(chan error, 1)
	go func() {
		again, err := Lock(t.Context(), path)
		if err == nil {
			again()
		}
		waited <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unlock()
	if err := <-waited; err != nil {
		t.Error(err)
	}
}

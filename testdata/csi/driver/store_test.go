package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestStoreIsShared opens a folder as drivers of two clusters do, the second one
// while the first one copies, and again after both have ended.
func TestStoreIsShared(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first := openTestStore(t, root)
	unfinished := filepath.Join(root, "volumes", "vol-a.new")
	if err := os.Mkdir(unfinished, 0o755); err != nil {
		t.Fatal(err)
	}

	second := openTestStore(t, root)
	if _, err := os.Stat(unfinished); err != nil {
		t.Errorf("the other driver's copy: %v", err)
	}
	if err := first.create(t.Context(), volumes, record{ID: "vol-b"}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := second.load(volumes, "vol-b"); err != nil {
		t.Errorf("the other driver's volume: %v", err)
	}

	for _, s := range []*store{first, second} {
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	third := openTestStore(t, root)
	if _, err := os.Stat(unfinished); !os.IsNotExist(err) {
		t.Errorf("a copy that nobody finishes is left: %v", err)
	}
	if _, err := third.load(volumes, "vol-b"); err != nil {
		t.Error(err)
	}
}

func openTestStore(t *testing.T, root string) *store {
	t.Helper()
	s, err := openStore(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() }) // it may be closed
	return s
}

package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
)

// plant makes files of the sorts that there are. The folder appears when all is
// in it.
func plant(folder string) error {
	next := folder + ".new"
	if err := os.RemoveAll(next); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(next, "nested", "deep"), 0o755); err != nil {
		return err
	}
	noise := make([]byte, 300_000)
	if _, err := rand.Read(noise); err != nil {
		return err
	}
	for _, file := range []struct {
		name string
		body []byte
		mode os.FileMode
	}{
		{"noise", noise, 0o644},
		{"nested/deep/empty", nil, 0o600},
		{"nested/program", []byte("#!/bin/sh\n"), 0o755},
		{"ünïcode and space", []byte("text\n"), 0o640},
	} {
		path := filepath.Join(next, file.name)
		if err := os.WriteFile(path, file.body, file.mode); err != nil {
			return err
		}
	}
	if err := os.Symlink("nested/program", filepath.Join(next, "link")); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(next, "closed"), 0o700); err != nil {
		return err
	}
	return os.Rename(next, folder)
}

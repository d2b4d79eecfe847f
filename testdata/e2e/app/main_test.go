package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "a", "b")
	file := filepath.Join(folder, "orders.txt")
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"hello"}, "hello\n"},
		{[]string{"mkdir", folder}, ""},
		{[]string{"write", file, "two gears"}, ""},
		{[]string{"cat", file}, "two gears\n"},
	}
	for _, tt := range tests { // one after the other: they share the folder
		var out bytes.Buffer
		if err := run(t.Context(), tt.args, &out); err != nil || out.String() != tt.want {
			t.Errorf("%q: %q, %v", tt.args, out.String(), err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"dance"}, {"cat"}, {"write", "x"}, {"hello", "x"}} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "usage: ") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestStayEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, nil, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
}

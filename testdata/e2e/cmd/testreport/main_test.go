package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const events = `not an event
{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
{"Action":"output","Package":"p","Test":"TestA/one","Output":"    a_test.go:1: why\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"--- FAIL: TestA (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestA/one"}
{"Action":"run","Package":"p","Test":"TestA/two"}
{"Action":"pass","Package":"p","Test":"TestA/two"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"run","Package":"p","Test":"TestKind"}
{"Action":"skip","Package":"p","Test":"TestKind"}
{"Action":"fail","Package":"p","Elapsed":0.5}
{"ImportPath":"q","Action":"build-output","Output":"q.go:1: broken\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"fail","Package":"q","Elapsed":0,"FailedBuild":"q"}
{"Action":"skip","Package":"r"}
`

func TestRead(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	got, err := read(strings.NewReader(events), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := counts{Passed: 2, Failed: []string{"p TestA/one", "q"}, Skipped: []string{"TestKind"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for _, text := range []string{"not an event", "a_test.go:1: why", "q.go:1: broken", "FAIL p 500ms"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("output has no %q:\n%s", text, out.String())
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		strict bool
		unit   counts
		failed bool
		want   string
	}{
		{
			name: "all passed",
			unit: counts{Passed: 3},
			want: "unit: 3 passed, 0 failed\n",
		},
		{
			name: "skip on a developer's machine",
			unit: counts{Passed: 3, Skipped: []string{"TestX"}},
			want: "unit: 3 passed, 0 failed, 1 skipped\n",
		},
		{
			name:   "skip with CI=true",
			strict: true,
			unit:   counts{Passed: 3, Skipped: []string{"TestX"}},
			failed: true,
			want:   "unit: 3 passed, 1 failed\n",
		},
		{
			name:   "exempt skip with CI=true",
			strict: true,
			unit:   counts{Passed: 3, Skipped: []string{"TestKind"}},
			want:   "unit: 3 passed, 0 failed, 1 skipped\n",
		},
		{
			name:   "nothing ran",
			failed: true,
			want:   "unit: 0 passed, 1 failed\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kept := ledger{dir: t.TempDir(), strict: tt.strict}
			var out bytes.Buffer
			for _, layer := range layers {
				c := counts{Passed: 1}
				if layer == "unit" {
					c = tt.unit
				}
				if err := kept.add(layer, c, &out); err != nil && !errors.Is(err, errFailed) {
					t.Fatal(err)
				}
			}
			out.Reset()
			if err := kept.close(nil, &out); errors.Is(err, errFailed) != tt.failed {
				t.Errorf("close: %v", err)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("output has no %q:\n%s", tt.want, out.String())
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		want         counts
	}{
		{"passes", "true", counts{Passed: 1}},
		{"fails", "echo why; exit 1", counts{Failed: []string{"fails"}}},
		{"skips", "exit 3", counts{Skipped: []string{"skips"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := runCheck(t.Context(), tt.name, []string{"sh", "-c", tt.script}, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

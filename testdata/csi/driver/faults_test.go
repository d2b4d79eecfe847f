package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// call sends a call through the faults, and says whether the driver did it.
func (f *faults) call(t *testing.T, method string, request any) (done bool, code codes.Code) {
	t.Helper()
	_, err := f.misbehave(t.Context(), request, &grpc.UnaryServerInfo{FullMethod: "/csi.v1.Controller/" + method}, func(context.Context, any) (any, error) {
		done = true
		return nil, nil
	})
	return done, status.Code(err)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	snapshot := func(volume string) *csi.CreateSnapshotRequest {
		return &csi.CreateSnapshotRequest{Name: "snapshot-1", SourceVolumeId: volume}
	}
	for name, tt := range map[string]struct {
		faults  string
		method  string
		request any
		done    bool
		code    codes.Code
	}{
		"no file":            {"", "CreateSnapshot", snapshot("vol-a"), true, codes.OK},
		"of the volume":      {`[{"method":"CreateSnapshot","id":"a$","code":"ResourceExhausted"}]`, "CreateSnapshot", snapshot("vol-a"), false, codes.ResourceExhausted},
		"of another volume":  {`[{"method":"CreateSnapshot","id":"b$","code":"ResourceExhausted"}]`, "CreateSnapshot", snapshot("vol-a"), true, codes.OK},
		"of another method":  {`[{"method":"DeleteSnapshot","code":"Internal"}]`, "CreateSnapshot", snapshot("vol-a"), true, codes.OK},
		"of every method":    {`[{"code":"Unavailable"}]`, "DeleteSnapshot", &csi.DeleteSnapshotRequest{SnapshotId: "snap-x"}, false, codes.Unavailable},
		"not for the probe":  {`[{"code":"Unavailable"}]`, "Probe", &csi.ProbeRequest{}, true, codes.OK},
		"after the work":     {`[{"code":"DeadlineExceeded","late":true}]`, "CreateSnapshot", snapshot("vol-a"), true, codes.DeadlineExceeded},
		"the first one":      {`[{"id":"a$","code":"Internal"},{"code":"Aborted"}]`, "CreateSnapshot", snapshot("vol-a"), false, codes.Internal},
		"a file that is bad": {`[{"code":"NoSuchCode"}]`, "CreateSnapshot", snapshot("vol-a"), true, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			done, code := writeFaults(t, tt.faults).call(t, tt.method, tt.request)
			if done != tt.done || code != tt.code {
				t.Errorf("done %t, %s; want %t, %s", done, code, tt.done, tt.code)
			}
		})
	}
}

func TestFaultsCount(t *testing.T) {
	t.Parallel()
	f := writeFaults(t, `[{"method":"DeleteSnapshot","code":"FailedPrecondition","times":2}]`)
	for i, want := range []codes.Code{codes.FailedPrecondition, codes.FailedPrecondition, codes.OK} {
		if _, code := f.call(t, "DeleteSnapshot", &csi.DeleteSnapshotRequest{SnapshotId: "snap-x"}); code != want {
			t.Errorf("call %d: %s, want %s", i+1, code, want)
		}
	}
}

func TestFaultsNotReady(t *testing.T) {
	t.Parallel()
	f := writeFaults(t, `[{"id":"slow$","notReady":2},{"id":"never$","notReady":-1}]`)
	for volume, want := range map[string][]bool{
		"vol-slow": {false, false, true}, "vol-never": {false, false, false}, "vol-other": {true, true, true},
	} {
		r := record{ID: "snap-" + volume, Source: volume}
		for i, ready := range want {
			f.asked(r)
			if got := f.ready(r); got != ready {
				t.Errorf("%s, answer %d: ready %t", volume, i+1, got)
			}
		}
	}
}

func writeFaults(t *testing.T, text string) *faults {
	t.Helper()
	file := filepath.Join(t.TempDir(), "faults.json")
	if text != "" {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newFaults(file)
}

package v1_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// TestVelerosOwnObjectsSurvive decodes what Velero 1.18.0 wrote, with no unknown
// fields allowed, and expects encoding it to give the same JSON.
func TestVelerosOwnObjectsSurvive(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		file string
		into any
	}{
		{"testdata/velero-backup.json", new(velerov1.Backup)},
		{"testdata/podvolumebackups.json", new([]velerov1.PodVolumeBackup)},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			body, err := os.ReadFile(test.file)
			if err != nil {
				t.Fatal(err)
			}
			decoder := json.NewDecoder(bytes.NewReader(body))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(test.into); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(test.into)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decodeAny(t, body), decodeAny(t, again)); diff != "" {
				t.Errorf("after a round trip (-written by Velero +ours):\n%s", diff)
			}
		})
	}
}

func decodeAny(t *testing.T, body []byte) any {
	t.Helper()
	var out any
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ in, want string }{
		"empty":    {"", ""},
		"short":    {"shop", "shop"},
		"63 bytes": {strings.Repeat("a", 63), strings.Repeat("a", 63)},
		// printf 'a%.0s' {1..64} | sha256sum begins with ffe054.
		"64 bytes": {strings.Repeat("a", 64), strings.Repeat("a", 57) + "ffe054"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := velerov1.ValidName(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	for phase, want := range map[velerov1.BackupPhase]bool{
		"":                                   false,
		velerov1.BackupPhaseNew:              false,
		velerov1.BackupPhaseInProgress:       false,
		velerov1.BackupPhaseFinalizing:       false,
		velerov1.BackupPhaseCompleted:        true,
		velerov1.BackupPhasePartiallyFailed:  true,
		velerov1.BackupPhaseFailed:           true,
		velerov1.BackupPhaseFailedValidation: true,
		velerov1.BackupPhaseDeleting:         true,
	} {
		if got := phase.Terminal(); got != want {
			t.Errorf("backup phase %q: got %v, want %v", phase, got, want)
		}
	}
	for phase, want := range map[velerov1.RestorePhase]bool{
		"":                                    false,
		velerov1.RestorePhaseInProgress:       false,
		velerov1.RestorePhaseCompleted:        true,
		velerov1.RestorePhasePartiallyFailed:  true,
		velerov1.RestorePhaseFailed:           true,
		velerov1.RestorePhaseFailedValidation: true,
	} {
		if got := phase.Terminal(); got != want {
			t.Errorf("restore phase %q: got %v, want %v", phase, got, want)
		}
	}
}

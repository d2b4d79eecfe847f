package azuredisk

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
)

// documentedRights are those of the role in the manual.
func documentedRights(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/snapshots-azure.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var role struct{ Actions []string }
	if err := json.Unmarshal([]byte(text), &role); err != nil {
		t.Fatal(err)
	}
	return role.Actions
}

// TestRights does everything with the documented rights, and finds each of them
// needed, and named where it is missing.
func TestRights(t *testing.T) {
	t.Parallel()
	rights := documentedRights(t)
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		if err := everything(t, rights); err != nil {
			t.Error(err)
		}
	})
	for i, right := range rights {
		t.Run(right, func(t *testing.T) {
			t.Parallel()
			err := everything(t, slices.Delete(slices.Clone(rights), i, i+1))
			if err == nil || !strings.Contains(err.Error(), "hint: give the identity a role with "+right+" on the resource group") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func everything(t *testing.T, rights []string) error {
	t.Helper()
	b := start(t, map[string]string{"resourceGroup": armtest.OtherGroup})
	b.server.AddDisk("disk", "Premium_LRS", nil)
	b.server.Allow(rights...)
	if _, err := b.Disk(t.Context(), "disk", ""); err != nil {
		return err
	}
	id, err := b.Create(t.Context(), request("disk"))
	if err != nil {
		return err
	}
	if _, err := b.State(t.Context(), id); err != nil {
		return err
	}
	if _, err := b.Find(t.Context(), owner); err != nil {
		return err
	}
	if _, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: "Premium_LRS", Token: "t"}); err != nil {
		return err
	}
	return b.Delete(t.Context(), id)
}

// TestOwnKeyNeedsARight knows the one right more.
func TestOwnKeyNeedsARight(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", func(r *armtest.Resource) {
		r.Properties.Encryption = &armtest.Encryption{Type: keyType, DiskEncryptionSetID: keySet}
	})
	rights := documentedRights(t)
	b.server.Allow(rights...)
	if _, err := b.Create(t.Context(), request("disk")); err == nil || !strings.Contains(err.Error(), "hint: give the identity a role with Microsoft.Compute/diskEncryptionSets/read") {
		t.Errorf("error %v", err)
	}
	b.server.Allow(append(rights, "Microsoft.Compute/diskEncryptionSets/read")...)
	b.create(t, "disk")
}

// TestDiskLeftBehind says what a failed restore couldn't remove, and removes it where
// it may.
func TestDiskLeftBehind(t *testing.T) {
	t.Parallel()
	for _, may := range []bool{false, true} {
		b := start(t, nil)
		b.server.AddDisk("disk", "Premium_LRS", nil)
		id := b.create(t, "disk")
		rights := documentedRights(t)
		if may {
			rights = append(rights, "Microsoft.Compute/disks/delete")
		}
		b.server.Allow(rights...)
		b.server.Fault(armtest.Fault{Method: "PUT", Async: true, Code: "InternalError", Message: "Sorry."})
		_, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: "Premium_LRS", Token: "t"})
		if err == nil {
			t.Fatal("no error")
		}
		named := strings.Contains(err.Error(), "it may be left behind as "+armtest.DiskID("restore-t"))
		if left := len(b.server.Disks()) == 2; left == may || named == may {
			t.Errorf("with the right %t: left behind %t, error %v", may, left, err)
		}
	}
}

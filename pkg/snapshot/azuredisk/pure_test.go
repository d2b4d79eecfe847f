package azuredisk

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

func TestMergeTags(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 60 {
		many[fmt.Sprintf("disk-%02d", i)] = "x"
	}
	got := mergeTags(map[string]string{tagOwner: "u"}, map[string]string{"velero.io/backup": "b", "Team": "ops"}, map[string]string{"team": "shop", "long": strings.Repeat("ü", 300)}, many)
	if len(got) != maxTags {
		t.Errorf("%d tags", len(got))
	}
	for name, want := range map[string]string{tagOwner: "u", "velero.io-backup": "b", "Team": "ops", "long": strings.Repeat("ü", 256), "disk-00": "x", "disk-45": "x"} {
		if value(got[name]) != want {
			t.Errorf("tag %q is %q, want %q", name, value(got[name]), want)
		}
	}
	if got["team"] != nil || got["disk-46"] != nil {
		t.Errorf("tags that should have been left out: %v, %v", got["team"], got["disk-46"])
	}
}

func TestZoneOf(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]string{"westeurope-1": "1", "": "", "0": "", "westeurope": ""} {
		if got := zoneOf(label); got != want {
			t.Errorf("%q: got %q, want %q", label, got, want)
		}
	}
}

func TestSnapshotName(t *testing.T) {
	t.Parallel()
	disk := func(name string) resource { return resource{place{"S", "G"}, name} }
	owner := snapshot.Owner{Backup: "b", UID: "u"}
	long := snapshotName(disk(strings.Repeat("a", 43)+"-bcd"), owner)
	if len(long) > maxName || !strings.HasPrefix(long, strings.Repeat("a", 43)+"-") || strings.Contains(long, "--") {
		t.Errorf("name %q", long)
	}
	if a, b := snapshotName(disk("d"), owner), snapshotName(resource{place{"s", "g"}, "d"}, owner); a != b {
		t.Errorf("%q and %q are of the same disk", a, b)
	}
	if a, b := snapshotName(disk("d"), owner), snapshotName(disk("d"), snapshot.Owner{Backup: "b", UID: "v"}); a == b {
		t.Errorf("both backups have %q", a)
	}
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		properties armcompute.SnapshotProperties
		want       snapshot.State
	}{
		{"done", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded")}, snapshot.State{Ready: true, Progress: 100}},
		{"tags change", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Updating")}, snapshot.State{Ready: true, Progress: 100}},
		{"being made", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Creating")}, snapshot.State{}},
		{"being copied", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded"), CompletionPercent: to.Ptr[float32](42.5)}, snapshot.State{Progress: 42}},
		{"copied", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded"), CompletionPercent: to.Ptr[float32](100)}, snapshot.State{Ready: true, Progress: 100}},
		{"pending", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded"), CompletionPercent: to.Ptr[float32](100), SnapshotAccessState: to.Ptr(armcompute.SnapshotAccessStatePending)}, snapshot.State{Progress: 100}},
		{"needs its disk", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded"), CompletionPercent: to.Ptr[float32](7), SnapshotAccessState: to.Ptr(armcompute.SnapshotAccessStateInstantAccess)}, snapshot.State{Progress: 7}},
		{"failed", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Failed")}, snapshot.State{Failure: "Azure calls it Failed"}},
		{"being deleted", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Deleting")}, snapshot.State{Failure: "it is being deleted"}},
		{"copy failed", armcompute.SnapshotProperties{ProvisioningState: to.Ptr("Succeeded"), CopyCompletionError: &armcompute.CopyCompletionError{
			ErrorCode: to.Ptr(armcompute.CopyCompletionErrorReasonCopySourceNotFound), ErrorMessage: to.Ptr("gone")}}, snapshot.State{Failure: "copying it failed: CopySourceNotFound: gone"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, stateOf(&test.properties)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTraits(t *testing.T) {
	t.Parallel()
	want := traits{traitShares: "2", traitThroughput: "200"}
	if diff := cmp.Diff(want, parseTraits(want.String())); diff != "" {
		t.Error(diff)
	}
	if got := parseTraits("x,maxShares=two,=,tier=").number(traitShares); got != nil {
		t.Errorf("got %d shares", *got)
	}
}

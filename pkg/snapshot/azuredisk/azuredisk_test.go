package azuredisk

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
)

// bed is a snapshotter with the server that it talks to.
type bed struct {
	*snapshotter
	server *armtest.Server
}

func start(t *testing.T, settings map[string]string) *bed {
	t.Helper()
	server := armtest.Start(t)
	s, err := open(server.Config(t, settings))
	if err != nil {
		t.Fatal(err)
	}
	s.pace = pace{first: time.Millisecond, longest: 10 * time.Millisecond}
	s.options.Retry.RetryDelay = time.Millisecond
	return &bed{s, server}
}

var (
	requestID = regexp.MustCompile(`\(request request-\d+\)`)
	nameToken = regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// normalized is the text without what is different each time.
func normalized(text string, c snapshot.Config) string {
	text = strings.ReplaceAll(text, c.CredentialsFile, "FILE")
	text = strings.ReplaceAll(text, c.Endpoint, "SERVER")
	return nameToken.ReplaceAllString(requestID.ReplaceAllString(text, "(request N)"), "-TOKEN")
}

var owner = snapshot.Owner{Backup: "nightly", UID: "6f1c3d0e-0000-4000-8000-000000000001"}

func request(disk string) snapshot.CreateRequest {
	return snapshot.CreateRequest{
		VolumeID: disk,
		Zone:     "westeurope-1",
		Owner:    owner,
		Volume:   "pv-" + disk,
		Tags:     map[string]string{"velero.io/backup": "nightly", "velero.io/pv": "pv-" + disk},
	}
}

func (b *bed) create(t *testing.T, disk string) string {
	t.Helper()
	id, err := b.Create(t.Context(), request(disk))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

const (
	keyType = "EncryptionAtRestWithCustomerKey"
	keySet  = "/subscriptions/" + armtest.Subscription + "/resourceGroups/keys/providers/Microsoft.Compute/diskEncryptionSets/set"
)

// TestDiskComesBack takes a snapshot of a disk, makes a disk from it and compares.
func TestDiskComesBack(t *testing.T) {
	t.Parallel()
	own := func(r *armtest.Resource) {
		r.Properties.Encryption = &armtest.Encryption{Type: keyType, DiskEncryptionSetID: keySet}
	}
	for _, test := range []struct {
		name, sku, zone string
		change          func(*armtest.Resource)
		wantZones       []string
	}{
		{"standard", "Standard_LRS", "", nil, nil},
		{"fault domain", "StandardSSD_LRS", "0", nil, nil},
		{"premium", "Premium_LRS", "westeurope-2", func(r *armtest.Resource) {
			on := true
			r.Properties.Tier, r.Properties.BurstingEnabled, r.Properties.MaxShares = "P40", &on, 2
			r.Properties.NetworkAccessPolicy, r.Properties.PublicNetworkAccess = "DenyAll", "Disabled"
			r.Tags = map[string]string{"team": "shop"}
		}, []string{"2"}},
		{"all zones", "Premium_ZRS", "westeurope-2", nil, nil},
		{"own key", "Premium_LRS", "westeurope-1", own, []string{"1"}},
		{"ultra", "UltraSSD_LRS", "westeurope-3", func(r *armtest.Resource) {
			r.Properties.DiskIOPSReadWrite, r.Properties.DiskMBpsReadWrite = 12000, 300
			r.Properties.CreationData.LogicalSectorSize = 512
		}, []string{"3"}},
		{"premium v2", "PremiumV2_LRS", "westeurope-1", func(r *armtest.Resource) {
			r.Properties.DiskIOPSReadWrite, r.Properties.DiskMBpsReadWrite = 4000, 150
		}, []string{"1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, nil)
			b.server.AddDisk("disk", test.sku, test.change)
			before := b.server.Disks()[0]
			disk, err := b.Disk(t.Context(), "disk", test.zone)
			if err != nil {
				t.Fatal(err)
			}
			id := b.create(t, "disk")
			name, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: disk.Type, IOPS: disk.IOPS, Zone: test.zone, Token: "token"})
			if err != nil {
				t.Fatal(err)
			}
			if name != "restore-token" {
				t.Errorf("disk %q", name)
			}
			compareDisks(t, before, b.server.Disks()[1], test.wantZones)
		})
	}
}

// compareDisks compares all that doesn't change by the way through a snapshot.
func compareDisks(t *testing.T, before, after armtest.Resource, zones []string) {
	t.Helper()
	want := before
	want.ID, want.Name, want.Zones = armtest.DiskID("restore-token"), "restore-token", zones
	want.Tags = map[string]string{"velero.io-backup": "nightly", "velero.io-pv": "pv-disk"}
	for name, tag := range before.Tags {
		want.Tags[name] = tag
	}
	want.Properties.UniqueID, want.Properties.TimeCreated = after.Properties.UniqueID, after.Properties.TimeCreated
	created := *after.Properties.CreationData
	created.LogicalSectorSize = before.Properties.CreationData.LogicalSectorSize
	want.Properties.CreationData = &created
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, sku   string
		settings    map[string]string
		group       string
		incremental bool
		tags        map[string]string
	}{
		{"default", "Premium_LRS", nil, "/subscriptions/" + armtest.Subscription + "/resourceGroups/" + armtest.Group, false, nil},
		{"incremental in another group", "Premium_LRS", map[string]string{"incremental": "true", "resourceGroup": armtest.OtherGroup},
			"/subscriptions/" + armtest.Subscription + "/resourceGroups/" + armtest.OtherGroup, true, nil},
		{"in another subscription", "Standard_LRS", map[string]string{"subscriptionId": armtest.OtherSubscription, "resourceGroup": armtest.OtherGroup},
			"/subscriptions/" + armtest.OtherSubscription + "/resourceGroups/" + armtest.OtherGroup, false, nil},
		{"ultra has incremental ones only", "UltraSSD_LRS", map[string]string{"incremental": "false"},
			"/subscriptions/" + armtest.Subscription + "/resourceGroups/" + armtest.Group, true, nil},
		{"tags", "Standard_LRS", map[string]string{"tags": "velero.io-pv=mine,cost=7"},
			"/subscriptions/" + armtest.Subscription + "/resourceGroups/" + armtest.Group, false, map[string]string{"velero.io-pv": "mine", "cost": "7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, test.settings)
			disk := b.server.AddDisk("disk", test.sku, func(r *armtest.Resource) {
				r.Tags = map[string]string{"team": "shop", "Velero.io-Backup": "older"}
			})
			id := b.create(t, "disk")
			if want := test.group + "/providers/Microsoft.Compute/snapshots/disk-TOKEN"; normalized(id, b.location) != want {
				t.Errorf("id %q, want %q", id, want)
			}
			got := b.server.Snapshots()[0]
			tags := map[string]string{"team": "shop", "velero.io-backup": "nightly", "velero.io-pv": "pv-disk", tagOwner: owner.UID}
			for name, tag := range test.tags {
				tags[name] = tag
			}
			if diff := cmp.Diff(tags, got.Tags); diff != "" {
				t.Error(diff)
			}
			if *got.Properties.Incremental != test.incremental || got.Properties.CreationData.SourceResourceID != disk || got.ID != id {
				t.Errorf("snapshot %+v", got)
			}
		})
	}
}

func TestSecondAttemptFindsTheFirst(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Premium_LRS", nil)
	first := b.create(t, "disk")
	if second := b.create(t, "disk"); second != first {
		t.Errorf("%q is another snapshot than %q", second, first)
	}
	r := snapshot.VolumeRequest{SnapshotID: first, Type: "Premium_LRS", Zone: "westeurope-1", Token: "t"}
	for range 2 {
		if _, err := b.CreateVolume(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if snapshots, disks := len(b.server.Snapshots()), len(b.server.Disks()); snapshots != 1 || disks != 2 {
		t.Errorf("%d snapshots, %d disks", snapshots, disks)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	b := start(t, map[string]string{"resourceGroup": armtest.OtherGroup})
	want := map[string]bool{}
	for _, disk := range []string{"a", "b", "c", "d", "e"} {
		b.server.AddDisk(disk, "Standard_LRS", nil)
		want[b.create(t, disk)] = true
	}
	other := request("a")
	other.Owner.UID = "another"
	if _, err := b.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	ids, err := b.Find(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, id := range ids {
		got[id] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	b := start(t, nil)
	b.server.AddDisk("disk", "Standard_LRS", nil)
	id := b.create(t, "disk")
	for range 2 { // the second time it isn't there
		if err := b.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if left := b.server.Snapshots(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := b.State(t.Context(), id); !errors.Is(err, snapshot.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestCopyInTheBackground(t *testing.T) {
	t.Parallel()
	b := start(t, map[string]string{"apiTimeout": "10s"})
	b.server.AddDisk("disk", "UltraSSD_LRS", nil)
	b.server.Copying(4)
	id := b.create(t, "disk")
	// The SDK has looked once.
	for _, want := range []snapshot.State{{Progress: 50}, {Progress: 75}} {
		got, err := b.State(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := b.CreateVolume(t.Context(), snapshot.VolumeRequest{SnapshotID: id, Type: "UltraSSD_LRS", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.State(t.Context(), id); err != nil || !got.Ready {
		t.Errorf("state %+v, error %v", got, err)
	}
}

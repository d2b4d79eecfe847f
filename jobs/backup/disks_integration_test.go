//go:build integration

package backup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// clouded is a fixture with an account in a cloud.
type clouded struct {
	*fixture
	ec2 *ec2test.Server
}

func newClouded(t *testing.T) clouded {
	t.Helper()
	f := clouded{fixture: newFixture(t), ec2: ec2test.Start(t)}
	f.snapshotLocation("cloud", "aws")
	return f
}

func (f *fixture) snapshotLocation(name, provider string) {
	f.t.Helper()
	_, err := f.client.VolumeSnapshotLocations(f.velero).Create(f.t.Context(), &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: f.velero},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: provider, Config: map[string]string{"region": ec2test.Region}},
	}, metav1.CreateOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
}

// disk makes a disk with a volume and a claim.
func (f clouded) disk(claim string, d ec2test.Disk) string {
	f.t.Helper()
	id := f.ec2.AddDisk(d)
	f.manifests(strings.NewReplacer("CLAIM", claim, "DISK", id).Replace(`# persistentvolumes
{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-CLAIM, labels: {topology.kubernetes.io/zone: eu-central-1a}}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: APP-class, awsElasticBlockStore: {volumeID: DISK}, persistentVolumeReclaimPolicy: Delete, claimRef: {namespace: APP, name: CLAIM}}}
---
# persistentvolumeclaims
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: CLAIM, namespace: APP}, spec: {accessModes: [ReadWriteOnce], storageClassName: APP-class, volumeName: APP-CLAIM, resources: {requests: {storage: 1Gi}}}}
`))
	f.patchStatus(claims, f.app, claim, `{"phase":"Bound"}`)
	f.patchStatus(volumes, "", f.app+"-"+claim, `{"phase":"Bound"}`)
	return id
}

// cloud lets the executor reach the account.
func (f clouded) cloud(env *run.Env) {
	env.OpenSnapshotter = func(ctx context.Context, location *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
		config := f.ec2.Config(f.t)
		config.Location = location.Name
		return ebs.Open(ctx, config)
	}
}

func (f clouded) saved(name string, want report.Outcome, spec velerov1.BackupSpec) *velerov1.Backup {
	f.t.Helper()
	spec.IncludedNamespaces = []string{f.app}
	f.add(name, spec)
	summary, after := f.run(name, f.cloud)
	if summary.Outcome != want {
		f.t.Fatalf("backup %q: %+v, want %s", name, summary, want)
	}
	return after
}

// disks reads the volumesnapshots object, by volume.
func (f *fixture) disks(name string) map[string]volume.Snapshot {
	f.t.Helper()
	var list []volume.Snapshot
	f.side(name, "volumesnapshots.json.gz", &list)
	disks := map[string]volume.Snapshot{}
	for _, disk := range list {
		disks[strings.TrimPrefix(disk.Spec.PersistentVolumeName, f.app+"-")] = disk
	}
	return disks
}

// storedVolumes are the volumes in an archive, without the fixture's name.
func (f *fixture) storedVolumes(backup string) (names []string) {
	f.t.Helper()
	for _, o := range f.objects(backup) {
		if o.resource == "persistentvolumes" {
			names = append(names, strings.TrimPrefix(o.name, f.app+"-"))
		}
	}
	slices.Sort(names)
	return names
}

func TestDisksAreSnapshottedByTheirProvider(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	ids := map[string]string{"a": f.disk("a", ec2test.Disk{Type: "io2", IOPS: 5000}), "b": f.disk("b", ec2test.Disk{Type: "gp2"})}
	f.ec2.Slow(2)
	f.annotated("one", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}}, nil)
	summary, after := f.run("one", f.cloud)
	if s := after.Status; summary.Outcome != report.Completed || s.VolumeSnapshotsAttempted != 2 || s.VolumeSnapshotsCompleted != 2 || s.CSIVolumeSnapshotsAttempted != 0 {
		t.Errorf("summary %+v, status %+v", summary, s)
	}
	disks, infos := f.disks("one"), f.infos("one")
	for claim, id := range ids {
		disk := disks[claim]
		want := volume.SnapshotSpec{
			BackupName: "one", BackupUID: string(after.UID), Location: "cloud", PersistentVolumeName: f.app + "-" + claim, ProviderVolumeID: id,
			VolumeType: map[string]string{"a": "io2", "b": "gp2"}[claim], VolumeAZ: "eu-central-1a", VolumeIOPS: disk.Spec.VolumeIOPS,
		}
		if diff := cmp.Diff(want, disk.Spec); diff != "" || disk.Status.Phase != volume.SnapshotCompleted {
			t.Errorf("status %+v, spec (-want +got):\n%s", disk.Status, diff)
		}
		info := infos[claim]
		if info.Method != volume.NativeSnapshot || info.Result != volume.Succeeded || info.Native == nil || info.Native.SnapshotHandle != disk.Status.ProviderSnapshotID || info.PreserveLocalSnapshot || info.Native.Phase != "Completed" {
			t.Errorf("info %+v", info)
		}
	}
	if iops := disks["a"].Spec.VolumeIOPS; iops == nil || *iops != 5000 || infos["a"].Native.IOPS != "5000" {
		t.Errorf("a's IOPS %v, %+v", iops, infos["a"].Native)
	}
	for _, s := range f.ec2.Snapshots() {
		if s.State != "completed" || s.Tags["velero.io/backup"] != "one" || !strings.HasPrefix(s.Tags["velero.io/pv"], f.app) || s.Tags[velerov1.StorageLocationLabel] != "default" {
			t.Errorf("snapshot %+v", s)
		}
	}
	f.checkMarkerLocations("one", []string{"cloud"})
}

func TestHalfOfTheDisksFail(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	for i := range 6 {
		id := f.disk(fmt.Sprintf("d%d", i), ec2test.Disk{})
		switch i {
		case 0: // refused
			f.ec2.Fault(ec2test.Fault{Action: "CreateSnapshot", ID: id, Code: "SnapshotLimitExceeded"})
		case 1: // made, though the answer says no
			f.ec2.Fault(ec2test.Fault{Action: "CreateSnapshot", ID: id, Code: "UnauthorizedOperation", Done: true})
		case 2: // gone
			f.ec2.DeleteDisk(id)
		}
	}
	after := f.saved("half", report.PartiallyFailed, velerov1.BackupSpec{})
	if s := after.Status; s.VolumeSnapshotsAttempted != 6 || s.VolumeSnapshotsCompleted != 3 || s.Errors != 3 {
		t.Errorf("status %+v", s)
	}
	_, errors := f.results("half")
	if !slices.ContainsFunc(errors, func(e string) bool {
		return strings.Contains(e, "name: /d0 ") && strings.Contains(e, "SnapshotLimitExceeded")
	}) {
		t.Errorf("errors %q", errors)
	}
	if diff := cmp.Diff([]string{"d3", "d4", "d5"}, f.storedVolumes("half")); diff != "" {
		t.Errorf("volumes (-want +got):\n%s", diff)
	}
	if info := f.infos("half")["d0"]; info.Result != volume.Failed || info.Native == nil || info.Native.SnapshotHandle != "" || f.disks("half")["d0"].Status.Phase != volume.SnapshotFailed {
		t.Errorf("info %+v", info)
	}
	if left := f.ec2.Snapshots(); len(left) != 3 {
		t.Errorf("the account has %d snapshots", len(left))
	}
}

func TestADiskSnapshotThatIsNeverReady(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	f.disk("slow", ec2test.Disk{})
	f.ec2.Slow(math.MaxInt)
	after := f.saved("slow", report.PartiallyFailed, velerov1.BackupSpec{ItemOperationTimeout: metav1.Duration{Duration: 2 * time.Second}})
	disk := f.disks("slow")["slow"]
	if after.Status.VolumeSnapshotsCompleted != 0 || disk.Status.Phase != volume.SnapshotNew || disk.Status.ProviderSnapshotID == "" || f.infos("slow")["slow"].Result != volume.Failed {
		t.Errorf("status %+v, snapshot %+v", after.Status, disk)
	}
	if _, errors := f.results("slow"); len(errors) != 1 || !strings.Contains(errors[0], "not ready after 2s") {
		t.Errorf("errors %q", errors)
	}
}

func TestSnapshotLocationsAreChosen(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	f.disk("a", ec2test.Disk{})
	f.snapshotLocation("theirs", "vendor.example.com/blocks")
	f.saved("one", report.Completed, velerov1.BackupSpec{})
	if warnings, _ := f.results("one"); len(warnings) != 1 || !strings.Contains(warnings[0], "theirs") {
		t.Errorf("warnings %q", warnings)
	}
	f.snapshotLocation("second", "aws")
	for name, c := range map[string]struct {
		named []string
		want  string // in the refusal; the location otherwise
	}{
		"ambiguous": {nil, "several snapshot locations"},
		"unknown":   {[]string{"nope"}, `no snapshot location "nope"`},
		"two":       {[]string{"cloud", "second"}, "are both of provider"},
		"second":    {[]string{"second"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := clouded{f.in(t), f.ec2}
			f.add(name, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, VolumeSnapshotLocations: c.named})
			_, after := f.run(name, f.cloud)
			if c.want != "" {
				if problems := strings.Join(after.Status.ValidationErrors, "; "); after.Status.Phase != velerov1.BackupPhaseFailedValidation || !strings.Contains(problems, c.want) {
					t.Errorf("phase %s, problems %q", after.Status.Phase, problems)
				}
				return
			}
			if disk := f.disks(name)["a"]; disk.Spec.Location != "second" {
				t.Errorf("snapshot %+v", disk)
			}
		})
	}
}

// A volume that no claim uses is a disk all the same.
// TestALocationThatCantBeOpened: one that the backup names ends it; another leaves the
// rest of the backup whole, and tells.
func TestALocationThatCantBeOpened(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	f.disk("data", ec2test.Disk{})
	broken := func(env *run.Env) {
		env.OpenSnapshotter = func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
			return nil, errors.New(`snapshot location "cloud": the credentials have no key`)
		}
	}
	f.add("named", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, VolumeSnapshotLocations: []string{"cloud"}})
	if summary, _ := f.run("named", broken); summary.Outcome != report.Failed || !strings.Contains(summary.Reason, "the credentials have no key") {
		t.Errorf("named: %+v", summary)
	}
	f.add("only", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	summary, after := f.run("only", broken)
	if summary.Outcome != report.PartiallyFailed || len(after.Spec.VolumeSnapshotLocations) > 0 || !strings.Contains(strings.Join(summary.TopCauses, " "), "no snapshots are taken") {
		t.Errorf("the only one: %+v, locations %q", summary, after.Spec.VolumeSnapshotLocations)
	}
	if got := f.storedVolumes("only"); !slices.Equal(got, []string{"data"}) {
		t.Errorf("stored volumes %q", got)
	}
}

func TestAVolumeWithoutItsClaimIsSnapshotted(t *testing.T) {
	f := newClouded(t)
	f.disk("a", ec2test.Disk{})
	after := f.saved("one", report.Completed, velerov1.BackupSpec{IncludedClusterScopedResources: []string{"persistentvolumes"}, ExcludedNamespaceScopedResources: []string{"pvc"}})
	if after.Status.VolumeSnapshotsCompleted < 1 || f.disks("one")["a"].Status.ProviderSnapshotID == "" || len(f.storedClaims("one")) != 0 {
		t.Errorf("status %+v", after.Status)
	}
}

// Both kinds of snapshots are in one backup.
func TestDisksAndDriversAreCutTogether(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	d := driven{f.fixture, testenv.StartCSI(t, testenv.Kubeconfig(t), testenv.CSIOptions{})}
	t.Cleanup(d.removeVolumes)
	f.disk("disk", ec2test.Disk{})
	d.data("driven")
	after := f.saved("one", report.Completed, velerov1.BackupSpec{})
	if s := after.Status; s.VolumeSnapshotsCompleted != 1 || s.CSIVolumeSnapshotsCompleted != 1 || s.Warnings != 0 {
		t.Errorf("status %+v", s)
	}
	infos := f.infos("one")
	d.checkSnapshot("one", "driven", infos["driven"])
	if infos["disk"].Native == nil || infos["disk"].Native.SnapshotHandle == "" {
		t.Errorf("info %+v", infos["disk"])
	}
}

// What fails or dies leaves no disk snapshot, and the next attempt none of the first.
func TestAFailedBackupLeavesNoDiskSnapshot(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	f.disk("a", ec2test.Disk{})
	f.disk("b", ec2test.Disk{})
	ctx, cancel := context.WithCancel(t.Context())
	f.ec2.OnRequest(func(action string) {
		if action == "CreateSnapshot" {
			cancel()
		}
	})
	f.add("cancelled", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	if summary, _ := f.runIn(ctx, "cancelled", f.cloud); summary.Outcome != report.Cancelled {
		t.Errorf("summary %+v", summary)
	}
	f.ec2.OnRequest(nil)
	if left := f.ec2.Snapshots(); len(left) != 0 {
		t.Errorf("the account has %+v", left)
	}
	f.ec2.Fault(ec2test.Fault{Action: "DeleteSnapshot", Code: "UnauthorizedOperation"})
	failing := f.refusing("disks", "-volumeinfo.json.gz", alwaysOpen())
	f.add("failed", velerov1.BackupSpec{StorageLocation: failing.StorageLocation, IncludedNamespaces: []string{f.app}})
	summary, after := f.run("failed", f.cloud)
	left := f.ec2.Snapshots()
	if summary.Outcome != report.Failed || len(left) != 2 || !strings.Contains(after.Status.FailureReason, left[0].ID) || !strings.Contains(after.Status.FailureReason, left[1].ID) {
		t.Errorf("summary %+v, left %+v", summary, left)
	}
}

func alwaysOpen() <-chan struct{} {
	open := make(chan struct{})
	close(open)
	return open
}

func TestARetryRemovesDiskSnapshots(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	f.disk("a", ec2test.Disk{})
	f.add("again", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	var uid string
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) })
	uid = string(f.get("again").UID)
	claim, err := json.Marshal(map[string]any{"backupUID": uid, "attempt": 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.bucket().Create(t.Context(), "backups/again/again-claim.json", claim); err != nil {
		t.Fatal(err)
	}
	opened, err := ebs.Open(t.Context(), f.ec2.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	first, err := opened.Create(t.Context(), snapshot.CreateRequest{VolumeID: f.ec2.Disks()[0].ID, Owner: snapshot.Owner{Backup: "again", UID: uid}, Volume: f.app + "-a"})
	if err != nil {
		t.Fatal(err)
	}
	if summary, _ := f.run("again", f.cloud); summary.Outcome != report.Completed {
		t.Errorf("summary %+v", summary)
	}
	if left := f.ec2.Snapshots(); len(left) != 1 || left[0].ID == first || left[0].ID != f.disks("again")["a"].Status.ProviderSnapshotID {
		t.Errorf("the account has %+v", left)
	}
}

//go:build integration

package backup_test

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// slowCloud copies the snapshot of one disk to 40 % and no further until it may.
type slowCloud struct {
	snapshot.Snapshotter
	disk    string
	copying atomic.Value // the snapshot's id
	release <-chan struct{}
}

func (s *slowCloud) Create(ctx context.Context, r snapshot.CreateRequest) (string, error) {
	id, err := s.Snapshotter.Create(ctx, r)
	if r.VolumeID == s.disk {
		s.copying.Store(id)
	}
	return id, err
}

func (s *slowCloud) State(ctx context.Context, id string) (snapshot.State, error) {
	select {
	case <-s.release:
	default:
		if s.copying.Load() == id {
			return snapshot.State{Progress: 40}, nil
		}
	}
	return s.Snapshotter.State(ctx, id)
}

// While snapshots become ready, the Backup says how far they are.
func TestTheBackupTellsHowFarSnapshotsAre(t *testing.T) {
	t.Parallel()
	f := newClouded(t)
	d := driven{f.fixture, testenv.StartCSI(t, testenv.Kubeconfig(t), testenv.CSIOptions{})}
	t.Cleanup(d.removeVolumes)
	f.disk("quick", ec2test.Disk{})
	slow := f.disk("slow", ec2test.Disk{})
	d.data("driven")
	d.Fault(t, testenv.CSIFault{NotReady: math.MaxInt32})
	release := make(chan struct{})
	f.add("one", velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	ended := make(chan report.Summary, 1)
	go func() {
		defer close(ended)
		summary, _ := f.run("one", func(env *run.Env) {
			f.cloud(env)
			open := env.OpenSnapshotter
			env.OpenSnapshotter = func(ctx context.Context, location *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
				opened, err := open(ctx, location)
				return &slowCloud{Snapshotter: opened, disk: slow, release: release}, err
			}
		})
		ended <- summary
	}()
	const want = "disks 1 of 2, 70%, CSI 0 of 1, operations 0 of 1"
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		got := snapshotsToldBy(f.get("one"))
		if got == want {
			break
		}
		if time.Now().After(deadline) {
			close(release)
			t.Fatalf("the Backup says %s, want %s", got, want)
		}
	}
	d.Fault(t) // no more
	close(release)
	if summary := <-ended; summary.Outcome != report.Completed {
		t.Fatalf("summary %+v", summary)
	}
	if got := snapshotsToldBy(f.get("one")); got != "disks 2 of 2, , CSI 1 of 1, operations 1 of 1" {
		t.Errorf("at the end: %s", got)
	}
}

func snapshotsToldBy(b *velerov1.Backup) string {
	s := b.Status
	return fmt.Sprintf("disks %d of %d, %s, CSI %d of %d, operations %d of %d",
		s.VolumeSnapshotsCompleted, s.VolumeSnapshotsAttempted, b.Annotations[velerov1.DisksCopiedAnnotation],
		s.CSIVolumeSnapshotsCompleted, s.CSIVolumeSnapshotsAttempted, s.BackupItemOperationsCompleted, s.BackupItemOperationsAttempted)
}

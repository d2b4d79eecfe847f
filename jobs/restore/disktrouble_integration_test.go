//go:build integration

package restore_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	volumes "github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// makesVolume says that a request makes a persistent volume for good.
func makesVolume(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/api/v1/persistentvolumes" && r.URL.Query().Get("dryRun") == ""
}

// A restore that is cancelled when it has made a disk makes its volume too, so that the
// disk belongs to something, and the next attempt tells of it.
func TestDiskOfARestoreThatIsCancelled(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	d.addRestore("r", velerov1.RestoreSpec{BackupName: "b"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, _ := d.runWith(ctx, "r", func(cfg *restore.Config) {
		d.inCloud(cfg)
		d.through(func(r *http.Request) fault {
			if makesVolume(r) {
				cancel()
			}
			return fine
		})(cfg)
	})
	if got := d.contentOf(name); first.Outcome == report.Completed || !strings.HasPrefix(got, "a") || d.made() != 1 {
		t.Errorf("first attempt: %+v, %q, %d disks", first, got, d.made())
	}
	d.reopen("r")
	second, _ := d.run("r", func(cfg *restore.Config) { d.inCloud(cfg); cfg.Attempt = 2 })
	if second.Outcome != report.Completed || d.made() != 1 {
		t.Errorf("second attempt: %+v, %d disks, results %+v", second, d.made(), d.results("r"))
	}
	var infos []volumes.RestoreInfo
	d.output("r", catalog.RestoreVolumeInfo, &infos)
	if len(infos) != 1 || infos[0].PVName != name || infos[0].Native.SnapshotHandle != d.records[0].Status.ProviderSnapshotID {
		t.Errorf("volume info %+v", infos)
	}
}

// A disk whose volume can't be made in the end is named.
func TestDiskThatNoVolumeIsOn(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(cfg *restore.Config) {
		d.inCloud(cfg)
		d.through(func(r *http.Request) fault {
			if makesVolume(r) {
				return broken
			}
			return fine
		})(cfg)
	})
	if summary.Outcome != report.PartiallyFailed || d.made() != 1 {
		t.Fatalf("summary %+v, %d disks", summary, d.made())
	}
	for _, disk := range d.cloud.Disks() {
		if disk.SnapshotID != "" {
			d.said(d.errors("r"), name, disk.ID, "belongs to nothing")
		}
	}
}

// Nothing is asked of a cloud about a volume that isn't one of its.
func TestDiskForAVolumeOfAnotherProvider(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.objects[0] = strings.Replace(d.objects[0], "ebs.csi.aws.com", "disk.csi.azure.com", 1)
	d.write()
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, d.inCloud)
	if summary.Outcome != report.PartiallyFailed || d.made() != 0 {
		t.Errorf("summary %+v, %d disks", summary, d.made())
	}
	d.said(d.errors("r"), name, "not on an EBS volume")
}

// As long as the cluster doesn't say whether it has the original, the claim of its copy
// names no volume: the original may be in use.
func TestMovedVolumeOfASilentCluster(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name, target := d.app+"-a", d.app+"-copy"
	d.saved(name, "then")
	d.write()
	d.apply(d.objects[0])
	const more = 7 // than the tries before the claims' turn
	var looks atomic.Int32
	spec := velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{d.app: target}}
	summary, _ := d.restore("r", spec, func(cfg *restore.Config) {
		d.inCloud(cfg)
		cfg.RetryFor = time.Minute
		d.through(func(r *http.Request) fault {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/persistentvolumes/") && looks.Add(1) <= more {
				return broken
			}
			return fine
		})(cfg)
	})
	if summary.Outcome != report.Completed || looks.Load() <= more {
		t.Errorf("summary %+v, %d looks, results %+v", summary, looks.Load(), d.results("r"))
	}
	if clone := d.volumeOf(target, name); !strings.HasPrefix(clone, "velero-clone-") || !strings.HasPrefix(d.contentOf(clone), "then") {
		t.Errorf("the moved claim waits for volume %q", clone)
	}
}

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
	d.saidOfStray(name)
}

// saidOfStray checks that the restore names the disk that was made and has no volume.
func (d *disks) saidOfStray(name string) {
	d.t.Helper()
	for _, disk := range d.cloud.Disks() {
		if disk.SnapshotID != "" {
			d.said(d.errors("r"), name, disk.ID, "belongs to nothing")
			if !strings.Contains(d.log("r"), disk.ID) {
				d.t.Errorf("the log doesn't name disk %q", disk.ID)
			}
		}
	}
}

// It is named too when the restore is cancelled before its volume is tried again.
func TestDiskThatNoVolumeIsOnWhenCancelled(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	d.addRestore("r", velerov1.RestoreSpec{BackupName: "b"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	summary, after := d.runWith(ctx, "r", func(cfg *restore.Config) {
		d.inCloud(cfg)
		d.through(func(r *http.Request) fault {
			if !makesVolume(r) {
				return fine
			}
			cancel()
			return broken
		})(cfg)
	})
	if summary.Outcome != report.Cancelled || summary.Errors != 1 || after.Status.Errors != 1 || d.made() != 1 {
		t.Fatalf("summary %+v, status %+v, %d disks", summary, after.Status, d.made())
	}
	d.saidOfStray(name)
}

// And it is named when a later try gets less far.
func TestDiskThatNoVolumeIsOnAfterALaterFailure(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	var made atomic.Bool
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(cfg *restore.Config) {
		d.inCloud(cfg)
		d.through(func(r *http.Request) fault {
			if makesVolume(r) {
				made.Store(true)
			}
			if made.Load() && strings.HasPrefix(r.URL.Path, "/api/v1/persistentvolumes") {
				return broken
			}
			return fine
		})(cfg)
	})
	if summary.Outcome != report.PartiallyFailed || d.made() != 1 {
		t.Fatalf("summary %+v, %d disks", summary, d.made())
	}
	d.saidOfStray(name)
}

// A disk whose volume came through in the end is nobody's concern.
func TestDiskWhoseVolumeComesLater(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name := d.app + "-a"
	d.saved(name, "a")
	d.write()
	var tries atomic.Int32
	summary, _ := d.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(cfg *restore.Config) {
		d.inCloud(cfg)
		d.through(func(r *http.Request) fault {
			if makesVolume(r) {
				return []fault{broken, lost, fine, fine}[min(tries.Add(1)-1, 3)]
			}
			return fine
		})(cfg)
	})
	if summary.Outcome != report.Completed || d.made() != 1 || !strings.HasPrefix(d.contentOf(name), "a") {
		t.Errorf("summary %+v, %d disks, results %+v", summary, d.made(), d.results("r"))
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

// Where the restore may not look, the claim isn't made: it would name the original.
func TestMovedVolumeOfAClusterThatMayNotBeAsked(t *testing.T) {
	t.Parallel()
	d := newDisks(t)
	d.makeLocation()
	name, target := d.app+"-a", d.app+"-copy"
	d.saved(name, "then")
	d.write()
	d.apply(d.objects[0])
	spec := velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{d.app: target}}
	begin := time.Now()
	summary, _ := d.restore("r", spec, func(cfg *restore.Config) {
		d.inCloud(cfg)
		cfg.RetryFor = time.Minute
		d.through(func(r *http.Request) fault {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/persistentvolumes/") {
				return forbidden
			}
			return fine
		})(cfg)
	})
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 2 || time.Since(begin) > 50*time.Second {
		t.Errorf("summary %+v after %s, results %+v", summary, time.Since(begin), d.results("r"))
	}
	d.said(d.errors("r"), target, "isn't known under which name")
	if d.get("persistentvolumeclaims", target, name) != nil || d.made() != 0 {
		t.Errorf("the claim is there, or one of %d disks", d.made())
	}
}

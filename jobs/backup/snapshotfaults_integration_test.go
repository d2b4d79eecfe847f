//go:build integration

package backup_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// within gives drivers less time than usual: all of it passes where one doesn't come to
// an end, and where one does it is enough on a busy machine.
func within(cut, ready time.Duration) func(*velerov1.BackupSpec) {
	return func(s *velerov1.BackupSpec) {
		s.CSISnapshotTimeout, s.ItemOperationTimeout = metav1.Duration{Duration: cut}, metav1.Duration{Duration: ready}
	}
}

// storedClaims are the claims in an archive.
func (f *fixture) storedClaims(backup string) (names []string) {
	f.t.Helper()
	for _, o := range f.objects(backup) {
		if o.resource == "persistentvolumeclaims" {
			names = append(names, o.name)
		}
	}
	slices.Sort(names)
	return names
}

func TestHalfOfTheSnapshotsFail(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	var all, good []string
	for i := range 10 {
		all = append(all, fmt.Sprintf("v%d", i))
	}
	d.data(all...)
	d.Fault(t, testenv.CSIFault{Method: "CreateSnapshot", ID: "^vol-" + d.app + "-v[02468]$", Code: "ResourceExhausted", Message: "no room for more snapshots"})
	d.whenGivenUp(func() { d.Fault(t) }) // the controllers don't let go of what the driver hasn't refused for good
	_, after := d.backUp("half", report.PartiallyFailed, d.only(within(10*time.Second, time.Minute)))
	if s := after.Status; s.CSIVolumeSnapshotsAttempted != 10 || s.CSIVolumeSnapshotsCompleted != 5 || s.Errors != 5 || s.BackupItemOperationsFailed != 0 {
		t.Errorf("status %+v", s)
	}
	_, errors := d.results("half")
	infos := d.infos("half")
	for i, claim := range all {
		if i%2 == 1 {
			good = append(good, claim)
			d.checkSnapshot("half", claim, infos[claim])
			continue
		}
		if info := infos[claim]; info.Method != volume.CSISnapshot || info.Result != volume.Failed || info.CSI == nil || info.CSI.SnapshotHandle != "" {
			t.Errorf("info %+v", info)
		}
		if !slices.ContainsFunc(errors, func(e string) bool {
			return strings.Contains(e, "name: /"+claim+" ") && strings.Contains(e, "no room for more")
		}) {
			t.Errorf("errors %q don't name %s", errors, claim)
		}
	}
	if got := d.storedClaims("half"); !slices.Equal(got, good) {
		t.Errorf("claims %q are stored", got)
	}
	d.untilSnapshots(5)
}

func TestASnapshotThatIsNeverReady(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("good", "slow")
	d.Fault(t, testenv.CSIFault{ID: "^vol-" + d.app + "-slow$", NotReady: -1})
	_, after := d.backUp("one", report.PartiallyFailed, d.only(within(time.Minute, 10*time.Second)))
	if s := after.Status; s.CSIVolumeSnapshotsAttempted != 2 || s.CSIVolumeSnapshotsCompleted != 1 || s.BackupItemOperationsFailed != 1 || s.BackupItemOperationsCompleted != 1 {
		t.Errorf("status %+v", s)
	}
	infos := d.infos("one")
	d.checkSnapshot("one", "good", infos["good"])
	if info := infos["slow"]; info.Result != volume.Failed || info.CSI.SnapshotHandle != "" || info.CSI.ContentName != "" {
		t.Errorf("info %+v", info)
	}
	snapshots := 0
	for _, item := range d.items("one") {
		if strings.HasPrefix(item, "volumesnapshots.") {
			snapshots++
		}
	}
	if got := d.storedClaims("one"); len(got) != 2 || snapshots != 1 {
		t.Errorf("claims %q and %d snapshots are stored", got, snapshots)
	}
	var operations []volume.Operation
	d.side("one", "itemoperations.json.gz", &operations)
	if len(operations) != 2 || operations[0].Status.Phase == operations[1].Status.Phase {
		t.Errorf("operations %+v", operations)
	}
	d.expectNoObjects()
	d.expectSnapshots(1)
}

func TestAMissingClassIsAnError(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{NoClass: true})
	d.data("data")
	_, after := d.backUp("one", report.PartiallyFailed, d.only())
	_, errors := d.results("one")
	if info := d.infos("one")["data"]; len(errors) != 1 || !strings.Contains(errors[0], d.Driver) || !info.Skipped || !strings.HasPrefix(info.SkippedReason, "csiSnapshot: ") || after.Status.CSIVolumeSnapshotsAttempted != 0 {
		t.Errorf("errors %q, info %+v", errors, info)
	}
	if got := d.storedClaims("one"); len(got) != 1 {
		t.Errorf("claims %q are stored", got)
	}
}

func TestADriverThatIsGone(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b")
	d.KillDriver(t)
	d.whenGivenUp(func() { d.StartDriver(t) })
	_, after := d.backUp("one", report.PartiallyFailed, d.only(within(8*time.Second, time.Minute)))
	_, errors := d.results("one")
	if after.Status.CSIVolumeSnapshotsCompleted != 0 || len(errors) != 2 || !strings.Contains(errors[0], d.Driver) {
		t.Errorf("status %+v, errors %q", after.Status, errors)
	}
	d.untilNothing()
}

// The controllers may come and go.
func TestControllersThatAreRestarted(t *testing.T) {
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b", "c")
	d.Fault(t, testenv.CSIFault{NotReady: 3})
	var posts atomic.Int32
	d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/volumesnapshots") && posts.Add(1) == 2 {
			d.RestartController(t)
		}
	})
	d.backUp("one", report.Completed, d.only())
	d.expectSnapshots(3)
	d.expectNoObjects()
}

// whenGivenUp calls back when the first snapshot is given up: deleted.
func (d driven) whenGivenUp(then func()) {
	var once sync.Once
	d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(w, r)
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/volumesnapshots/") {
			once.Do(then)
		}
	})
}

// untilNothing waits until neither cluster nor driver have a snapshot: what the driver
// hasn't settled yet goes when it has.
func (d driven) untilNothing() {
	d.t.Helper()
	d.untilSnapshots(0)
}

// untilSnapshots waits until the driver has so many snapshots, and the cluster no
// objects of any.
func (d driven) untilSnapshots(n int) {
	d.t.Helper()
	d.until("nothing is left", func() error {
		if left := append(d.Snapshots(d.t), d.objectsLeft()...); len(left) != n {
			return fmt.Errorf("there are %q", left)
		}
		return nil
	})
}

func TestAnAPIServerThatStumbles(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b")
	var paths perPath
	d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/snapshot.storage.k8s.io/v1/") && paths.next(r)%2 == 1 {
			refuse(w, http.StatusInternalServerError, "InternalError", "etcdserver: leader changed")
			return
		}
		next.ServeHTTP(w, r)
	})
	d.backUp("one", report.Completed, d.only())
	d.expectNoObjects()
	d.expectSnapshots(2)
}

func TestAPermissionThatLacks(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a")
	d.configMap("kept", nil)
	for name, path := range map[string]string{"classes": "/volumesnapshotclasses", "snapshots": "/volumesnapshots"} {
		t.Run(name, func(t *testing.T) {
			d := driven{d.in(t), d.CSI}
			d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if strings.HasSuffix(r.URL.Path, path) && (r.Method == http.MethodPost || name == "classes") {
					refuse(w, http.StatusForbidden, "Forbidden", "you may not "+r.Method+" "+path)
					return
				}
				next.ServeHTTP(w, r)
			})
			d.backUp(name, report.PartiallyFailed, d.only(within(5*time.Second, time.Minute)))
			if _, errors := d.results(name); len(errors) != 1 || !strings.Contains(errors[0], "you may not") {
				t.Errorf("errors %q", errors)
			}
			if !slices.Contains(d.items(name), "configmaps "+d.app+"/kept") {
				t.Error("the rest isn't stored")
			}
			d.untilNothing()
		})
	}
}

// A backup that doesn't come about leaves no snapshot.
func TestAFailedBackupLeavesNoSnapshot(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b")
	for _, suffix := range []string{".tar.gz", "-volumeinfo.json.gz", "-checksums.json"} {
		t.Run(suffix, func(t *testing.T) {
			d := driven{d.in(t), d.CSI}
			name := "x" + strings.NewReplacer(".", "", "-", "").Replace(suffix)
			cut := make(chan struct{})
			var once atomic.Bool
			d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/volumesnapshots") && once.CompareAndSwap(false, true) {
					defer close(cut)
				}
				next.ServeHTTP(w, r)
			})
			spec := d.refusing(name, suffix, cut)
			_, after := d.backUp(name, report.Failed, d.only(func(s *velerov1.BackupSpec) { s.StorageLocation = spec.StorageLocation }))
			if !strings.Contains(after.Status.FailureReason, "QuotaExceeded") {
				t.Errorf("reason %q", after.Status.FailureReason)
			}
			d.untilNothing()
		})
	}
}

// refusing adds a location whose bucket takes a file of the backup only before a
// snapshot is asked for, which is never.
func (f *fixture) refusing(name, suffix string, after <-chan struct{}) velerov1.BackupSpec {
	spec := f.storeAt("refusing-"+name, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if (r.Method == http.MethodPut || r.Method == http.MethodPost) && strings.HasSuffix(r.URL.Path, suffix) {
			<-after
			_, _ = io.Copy(io.Discard, r.Body) // as servers do
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>QuotaExceeded</Code><Message>the bucket is full</Message></Error>`)
			return
		}
		next.ServeHTTP(w, r)
	})
	return spec
}

func TestACancelledBackupLeavesNoSnapshot(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b")
	d.Fault(t, testenv.CSIFault{NotReady: -1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil && len(d.Snapshots(t)) < 2 {
			time.Sleep(20 * time.Millisecond)
		}
		cancel()
	}()
	d.add("cut", d.only())
	summary, after := d.runIn(ctx, "cut", nil)
	if summary.Outcome != report.Cancelled || after.Status.Phase != velerov1.BackupPhaseFailed {
		t.Errorf("summary %+v, phase %s", summary, after.Status.Phase)
	}
	d.untilNothing()
	d.expectNothing("cut")
}

// What a killed process had cut goes before the next attempt cuts anew; what it had
// committed stays.
func TestSnapshotsOfAKilledProcess(t *testing.T) {
	t.Parallel()
	binary := testenv.Executor(t)
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b", "c")
	direct := d.kubeconfig
	for at, here := range map[string]func(*http.Request) bool{
		"mid-cut": func(r *http.Request) bool {
			return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/volumesnapshots")
		},
		"committed": func(r *http.Request) bool {
			return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/volumesnapshot")
		},
	} {
		t.Run(at, func(t *testing.T) {
			d := driven{d.in(t), d.CSI}
			before := d.Snapshots(t)
			reached, release := make(chan struct{}), make(chan struct{})
			var stopped, seen atomic.Int32
			d.kubeconfig = direct
			d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if here(r) && seen.Add(1) >= 2 {
					if stopped.CompareAndSwap(0, 1) {
						close(reached)
					}
					<-release
					panic(http.ErrAbortHandler)
				}
				next.ServeHTTP(w, r)
			})
			d.add(at, d.only())
			d.kill(binary, at, reached)
			close(release)
			if committed := slices.Contains(d.keys(), "backups/"+at+"/velero-backup.json"); committed != (at == "committed") {
				t.Fatalf("the marker is there: %v", committed)
			}
			d.kubeconfig = direct
			summary, after := d.run(at, nil)
			if summary.Outcome != report.Completed || after.Status.CSIVolumeSnapshotsCompleted != 3 {
				t.Errorf("second attempt: %+v, status %+v", summary, after.Status)
			}
			infos := d.infos(at)
			for _, claim := range []string{"a", "b", "c"} {
				d.checkSnapshot(at, claim, infos[claim])
			}
			d.expectSnapshots(len(before) + 3)
			d.expectNoObjects()
		})
	}
}

// An attempt that fails before it knows that an earlier one has committed must leave
// that one's snapshots alone.
func TestAnAttemptThatFailsEarlyLeavesACommittedBackupAlone(t *testing.T) {
	t.Parallel()
	binary := testenv.Executor(t)
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a")
	direct := d.kubeconfig
	reached, release := make(chan struct{}), make(chan struct{})
	var stopped atomic.Bool
	d.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/volumesnapshot") {
			if stopped.CompareAndSwap(false, true) {
				close(reached)
			}
			<-release
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	var broken atomic.Bool
	spec := d.storeThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if broken.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	d.add("one", d.only(func(s *velerov1.BackupSpec) { s.StorageLocation = spec.StorageLocation }))
	d.kill(binary, "one", reached)
	close(release)
	d.kubeconfig = direct
	broken.Store(true)
	d.run("one", nil)
	d.expectSnapshots(1)
	if left := d.objectsLeft(); len(left) != 2 {
		t.Errorf("the cluster has %q", left)
	}
	client, err := csi.NewClient(d.config, slog.New(slog.DiscardHandler)) // as maintenance does
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Forget(t.Context(), "one", string(d.get("one").UID)); err != nil {
		t.Error(err)
	}
	d.expectNoObjects()
	d.expectSnapshots(1)
}

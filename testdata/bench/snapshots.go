package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const (
	// manyVolumes is what is held against one.
	manyVolumes = 10
	// cutTime is what the driver takes for a snapshot, as storage systems do.
	cutTime = time.Second
	// targetVolumes is how much longer many volumes may take than one.
	targetVolumes = 1.5
	// volumeRounds are those of each.
	volumeRounds = 5
)

// snapshotResult is what was measured of backups with snapshots.
type snapshotResult struct{ one, many []taken }

func (r *snapshotResult) ratio() float64 {
	return spreadTaken(r.many, seconds).median / spreadTaken(r.one, seconds).median
}

func (r *snapshotResult) print(w io.Writer) {
	fmt.Fprintf(w, "\nbackups with snapshots by a CSI driver that takes %s for each; median of %d rounds (least to most)\n", cutTime, len(r.one))
	for _, line := range []struct {
		volumes int
		all     []taken
	}{{1, r.one}, {manyVolumes, r.many}} {
		s, rss := spreadTaken(line.all, seconds), spreadTaken(line.all, peakRSS)
		fmt.Fprintf(w, "  %2d volumes   %.2f s (%.2f to %.2f)   peak RSS %.1f MiB\n", line.volumes, s.median, s.least, s.most, rss.most/mib)
	}
}

func (r *snapshotResult) printTargets(target func(what string, value, limit float64, format string, most bool)) {
	target(fmt.Sprintf("backup of %d volumes against one", manyVolumes), r.ratio(), targetVolumes, "%.2f", true)
}

// snapshotFigures are the result in bench.json.
type snapshotFigures struct {
	Volumes    int     `json:"volumes"`
	Ratio      float64 `json:"ratio"`
	OneRounds  []taken `json:"oneRounds"`
	ManyRounds []taken `json:"manyRounds"`
}

func (r *snapshotResult) figures() snapshotFigures {
	return snapshotFigures{Volumes: manyVolumes, Ratio: r.ratio(), OneRounds: r.one, ManyRounds: r.many}
}

// measureSnapshots measures backups of one volume and of many, in turns, with the
// controllers and the sidecar of a real cluster, and the driver of the test-bed.
func measureSnapshots(ctx context.Context, o options) (r *snapshotResult, err error) {
	b, err := startBed(ctx, o, dataSet{volumes: manyVolumes})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop(false)) }()
	tb := &stand{ctx: ctx}
	defer func() { err = errors.Join(err, tb.end()) }()
	err = tb.try(func() {
		driver := testenv.StartCSI(tb, b.adminKubeconfig, testenv.CSIOptions{})
		driver.Fault(tb, testenv.CSIFault{Method: "CreateSnapshot", Delay: cutTime})
		for namespace, volumes := range volumeNamespaces() {
			if _, failed := b.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); failed != nil && !apierrors.IsAlreadyExists(failed) {
				tb.Fatal(failed)
			}
			for i := range volumes {
				driver.Volume(tb, namespace, "data-"+strconv.Itoa(i), "1Gi")
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return b.measureVolumes(ctx)
}

const oneNamespace, manyNamespace = "volumes-one", "volumes-many"

// volumeNamespaces are the namespaces and how many volumes each has.
func volumeNamespaces() map[string]int {
	return map[string]int{oneNamespace: 1, manyNamespace: manyVolumes}
}

func (b *bed) measureVolumes(ctx context.Context) (*snapshotResult, error) {
	r := &snapshotResult{}
	rounds := volumeRounds
	if b.rounds > 0 {
		rounds = b.rounds
	}
	for n := range rounds {
		for _, part := range []struct {
			namespace string
			to        *[]taken
		}{{oneNamespace, &r.one}, {manyNamespace, &r.many}} {
			t, err := b.backUpVolumes(ctx, part.namespace)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", n+1, err)
			}
			*part.to = append(*part.to, *t)
		}
		progress("round %d of %d: one %.3f s, %d %.3f s", n+1, rounds, last(r.one).Seconds, manyVolumes, last(r.many).Seconds)
	}
	return r, nil
}

// backUpVolumes measures one backup; it must have all of its namespace's snapshots.
func (b *bed) backUpVolumes(ctx context.Context, namespace string) (*taken, error) {
	backup := b.newBackup(namespace)
	backup.Spec.IncludedNamespaces = []string{namespace}
	t, err := b.execute(ctx, backup, b.kubeconfig)
	if err != nil {
		return nil, err
	}
	after, err := b.velero.Backups(velerov1.DefaultNamespace).Get(ctx, backup.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if want := volumeNamespaces()[namespace]; after.Status.CSIVolumeSnapshotsCompleted != want {
		return nil, fmt.Errorf("backup %q has %d snapshots of %d", backup.Name, after.Status.CSIVolumeSnapshotsCompleted, want)
	}
	return t, b.remove(ctx, backup.Name)
}

// stand is what helpers of tests stand on outside of one: what fails ends what try
// was given.
type stand struct {
	testing.TB // nothing else of it is called
	ctx        context.Context
	cleanups   []func()
	errs       []error
}

// failure is what Fatal panics with.
type failure struct{ err error }

func (s *stand) Helper()                  {}
func (s *stand) Context() context.Context { return s.ctx }
func (s *stand) Failed() bool             { return len(s.errs) > 0 }
func (s *stand) Cleanup(f func())         { s.cleanups = append(s.cleanups, f) }
func (s *stand) Fatal(args ...any)        { panic(failure{errors.New(fmt.Sprint(args...))}) }
func (s *stand) Logf(string, ...any)      {}

func (s *stand) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }
func (s *stand) Errorf(format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

// try does something and returns how it failed.
func (s *stand) try(do func()) (err error) {
	defer func() {
		switch failed := recover().(type) {
		case nil:
		case failure:
			err = failed.err
		default:
			panic(failed)
		}
	}()
	do()
	return errors.Join(s.errs...)
}

// end cleans up, what came last first.
func (s *stand) end() error {
	s.errs = nil
	return s.try(func() {
		for _, clean := range slices.Backward(s.cleanups) {
			clean()
		}
	})
}

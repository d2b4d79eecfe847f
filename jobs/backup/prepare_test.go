package backup

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func location(name string, isDefault bool) velerov1.BackupStorageLocation {
	return velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.BackupStorageLocationSpec{Default: isDefault}}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	no := false
	var spec velerov1.BackupSpec
	setDefaults(&spec, []velerov1.BackupStorageLocation{location("a", false), location("main", true)})
	want := velerov1.BackupSpec{
		IncludedNamespaces: []string{"*"}, StorageLocation: "main", VolumeGroupSnapshotLabelKey: "velero.io/volume-group",
		TTL: metav1.Duration{Duration: 720 * time.Hour}, CSISnapshotTimeout: metav1.Duration{Duration: 10 * time.Minute},
		ItemOperationTimeout: metav1.Duration{Duration: 4 * time.Hour}, DefaultVolumesToFsBackup: &no, SnapshotMoveData: &no,
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestFindLocation(t *testing.T) {
	t.Parallel()
	readOnly := location("old", false)
	readOnly.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
	locations := []velerov1.BackupStorageLocation{location("main", true), readOnly}
	for name, want := range map[string]string{
		"main": "",
		"old":  `storageLocation: "old" is read-only`,
		"nope": `storageLocation: "nope" doesn't exist; there are: main, old`,
	} {
		_, problems := findLocation(name, locations)
		if got := strings.Join(problems, "\n"); !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("findLocation(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestUnsupportedPartsAreRefusedByName(t *testing.T) {
	t.Parallel()
	yes := true
	got := strings.Join(unsupported(velerov1.BackupSpec{SnapshotMoveData: &yes, DefaultVolumesToFsBackup: &yes}), "\n")
	for _, field := range []string{"snapshotMoveData:", "defaultVolumesToFsBackup:"} {
		if !strings.Contains(got, field) {
			t.Errorf("problems %q don't name %s", got, field)
		}
	}
	if got := unsupported(velerov1.BackupSpec{}); got != nil {
		t.Errorf("an empty spec has problems %q", got)
	}
}

func TestScheduledBackup(t *testing.T) {
	t.Parallel()
	yes := true
	schedule := &velerov1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: "velero", UID: "u1", Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "n"}},
		Spec:       velerov1.ScheduleSpec{Template: velerov1.BackupSpec{IncludedNamespaces: []string{"shop"}}, UseOwnerReferencesInBackup: &yes},
	}
	cfg := Config{Env: &run.Env{JobName: "schedule-nightly-1", JobUID: "job1"}, Schedule: "nightly"}
	got := cfg.scheduled(schedule, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if got.Name != "nightly-20260102030405" || got.Status.Phase != velerov1.BackupPhaseInProgress {
		t.Errorf("name %q, phase %q", got.Name, got.Status.Phase)
	}
	if diff := cmp.Diff(map[string]string{"team": "a", velerov1.ScheduleNameLabel: "nightly"}, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.Annotations["note"] != "n" || got.Annotations[velerov1.JobUIDAnnotation] != "job1" {
		t.Errorf("annotations %v", got.Annotations)
	}
	if len(got.OwnerReferences) != 1 || got.OwnerReferences[0].UID != "u1" || got.Spec.IncludedNamespaces[0] != "shop" {
		t.Errorf("owner %v, spec %v", got.OwnerReferences, got.Spec)
	}
	if _, touched := schedule.Labels[velerov1.ScheduleNameLabel]; touched {
		t.Error("the schedule's own labels were changed")
	}
}

func TestSummaryOfEachEnd(t *testing.T) {
	t.Parallel()
	newOperation := func(last bool) *operation {
		return &operation{Config: Config{Env: &run.Env{LastAttempt: last}}, report: report.New()}
	}
	partly := newOperation(true)
	partly.report.Add(report.Error, ref.Object{}, errors.New("pods is forbidden"))
	for _, c := range []struct {
		name string
		o    *operation
		err  error
		want report.Outcome
		why  string
	}{
		{"clean", newOperation(true), nil, report.Completed, ""},
		{"an object failed", partly, nil, report.PartiallyFailed, "pods is forbidden"},
		{"refused", newOperation(true), &run.Refusal{Problems: []string{"a", "b"}}, report.Usage, "a; b"},
		{"broken", newOperation(false), errors.New("bucket is gone"), report.Failed, "bucket is gone"},
		{"broken, with snapshots left", newOperation(true), &leftBehind{cause: errors.New("bucket is gone"), left: errors.New("snapshot s1 stays")}, report.Failed, "bucket is gone; snapshot s1 stays"},
		{"refused, with snapshots left", newOperation(true), &leftBehind{cause: &run.Refusal{Problems: []string{"a"}}, left: errors.New("snapshot s1 stays")}, report.Usage, "snapshot s1 stays"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := c.o.summary(t.Context(), c.err)
			if got.Outcome != c.want || !strings.Contains(got.Reason, c.why) {
				t.Errorf("summary %+v", got)
			}
		})
	}
}

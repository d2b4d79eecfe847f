package cli

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// scheduledName is the name of a backup that is made from a schedule and was
// given none.
func (o *backupCreate) scheduledName(now time.Time) string {
	return (&velerov1.Schedule{ObjectMeta: metav1.ObjectMeta{Name: string(o.fromSchedule)}}).BackupName(now)
}

// ofSchedule builds the Backup that the schedule would make now. The labels and
// annotations of the command line are added to its own.
func (o *backupCreate) ofSchedule(ctx context.Context, f *Factory) (*velerov1.Backup, error) {
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	schedule, err := s.velero.Schedules(s.namespace).Get(ctx, string(o.fromSchedule), metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		return nil, fmt.Errorf("schedule %q does not exist in namespace %q; hint: `%s schedule get` lists those that do", o.fromSchedule, s.namespace, s.name)
	}
	if err != nil {
		return nil, s.explain(fmt.Sprintf("read schedule %q", o.fromSchedule), err)
	}
	if problems := filter.Validate(filter.OfBackup(schedule.Spec.Template)); len(problems) > 0 {
		return nil, fmt.Errorf("schedule %q: %s", schedule.Name, strings.Join(problems, "; "))
	}
	o.tellIgnored(f)
	return o.scheduled(schedule), nil
}

// tellIgnored says what the schedule stands in for.
func (o *backupCreate) tellIgnored(f *Factory) {
	var ignored []string
	o.own.VisitAll(func(fl *pflag.Flag) {
		if fl.Changed && fl.Name != "labels" && fl.Name != "annotations" {
			ignored = append(ignored, "--"+fl.Name)
		}
	})
	if len(ignored) > 0 {
		f.warn("schedule %q says what is backed up; without effect: %s", o.fromSchedule, strings.Join(ignored, ", "))
		return
	}
	fmt.Fprintf(f.ErrOut, "note: schedule %q says what is backed up; other filters have no effect\n", o.fromSchedule)
}

// scheduled is the schedule's Backup, with what the command line adds.
func (o *backupCreate) scheduled(schedule *velerov1.Schedule) *velerov1.Backup {
	backup := schedule.NewBackup(o.name)
	maps.Copy(backup.Labels, o.labels.Data())
	maps.Copy(backup.Annotations, o.annotations.Data())
	backup.Labels[velerov1.ScheduleNameLabel] = schedule.Name
	return backup
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

var scheduleNoun = noun{word: "schedule", title: "Schedule"}

func newScheduleGet(f *Factory, use string) *cobra.Command {
	return newGet(f, use, "List schedules", `  # All schedules, with their CronJobs
  %[1]s schedule get -o wide`, completeSchedules, runScheduleGet)
}

func runScheduleGet(ctx context.Context, s *session, names []string, o *getFlags) error {
	schedules, err := s.schedules(ctx, names, o.selector)
	if err != nil {
		return err
	}
	if !o.output.table() {
		return o.output.printList(s.Out, &velerov1.ScheduleList{Items: schedules})
	}
	cronJobs, err := s.cronJobs(ctx, schedules)
	if err != nil {
		return err
	}
	return o.output.printTable(s.Out, s.ErrOut, scheduleTable(schedules, cronJobs, s.now()), s.namespace)
}

func (s *session) schedules(ctx context.Context, names []string, selector string) ([]velerov1.Schedule, error) {
	if len(names) == 0 {
		list, err := s.velero.Schedules(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, s.explain("list schedules", err)
		}
		slices.SortFunc(list.Items, func(a, b velerov1.Schedule) int { return cmp.Compare(a.Name, b.Name) })
		return list.Items, nil
	}
	schedules := make([]velerov1.Schedule, 0, len(names))
	for _, name := range names {
		schedule, err := s.velero.Schedules(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, s.notFound(scheduleNoun, name, err)
		}
		schedules = append(schedules, *schedule)
	}
	return schedules, nil
}

// cronJobs finds the CronJob of each schedule, nil for one that has none: it
// makes no backups, and the user is told.
func (s *session) cronJobs(ctx context.Context, schedules []velerov1.Schedule) ([]*batchv1.CronJob, error) {
	found := make([]*batchv1.CronJob, len(schedules))
	for i, schedule := range schedules {
		job, err := s.kube.BatchV1().CronJobs(s.namespace).Get(ctx, launch.CronJobName(schedule.Name), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			s.warn("schedule %q makes no backups: it has no CronJob %q; hint: delete it and create it again", schedule.Name, launch.CronJobName(schedule.Name))
		case err != nil:
			return nil, s.explain(fmt.Sprintf("read the CronJob of schedule %q", schedule.Name), err)
		default:
			found[i] = job
		}
	}
	return found, nil
}

func scheduleTable(schedules []velerov1.Schedule, cronJobs []*batchv1.CronJob, now time.Time) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns("Name", "Status", "Created", "Schedule", "Backup TTL", "Last Backup", "Selector", "Paused",
		"+CronJob", "+Time Zone")}
	for i := range schedules {
		sc := &schedules[i]
		name, zone, paused := "<none>", "", sc.Spec.Paused
		if job := cronJobs[i]; job != nil {
			name, paused = job.Name, job.Spec.Suspend != nil && *job.Spec.Suspend
			if job.Spec.TimeZone != nil {
				zone = *job.Spec.TimeZone
			}
		}
		phase := sc.Status.Phase
		if phase == "" {
			phase = velerov1.SchedulePhaseNew
		}
		t.Rows = append(t.Rows, row(sc, sc.Name, string(phase), sc.CreationTimestamp, sc.Spec.Schedule, sc.Spec.Template.TTL.Duration,
			lastBackup(sc.Status.LastBackup, now), metav1.FormatLabelSelector(sc.Spec.Template.LabelSelector), paused, name, zone))
	}
	return t
}

func lastBackup(at *metav1.Time, now time.Time) string {
	if at == nil || at.IsZero() {
		return "n/a"
	}
	return duration.ShortHumanDuration(now.Sub(at.Time)) + " ago"
}

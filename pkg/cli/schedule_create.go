package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/robfig/cron/v3"
	"github.com/spf13/cobra"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

type scheduleCreate struct {
	backupFlags
	creation
	schedule string
	paused   bool
}

func newScheduleCreate(f *Factory, use string) *cobra.Command {
	o := &scheduleCreate{creation: newCreation()}
	cmd := &cobra.Command{
		Use:     use + " NAME --schedule EXPRESSION",
		Short:   "Back up again and again",
		Long:    "Back up again and again. A CronJob starts each backup; nothing runs in between. Each backup is named after the schedule and the time." + filterHelp,
		Example: f.examples(scheduleCreateExamples),
		Args:    oneName("schedule"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context(), f)
		},
	}
	fs := cmd.Flags()
	o.backupFlags.add(fs)
	fs.StringVar(&o.schedule, "schedule", "", `When: five cron fields in UTC, or @every 6h, @daily; "CRON_TZ=Europe/Paris 0 1 * * *" for another time zone. Required.`)
	fs.BoolVar(&o.paused, "paused", false, "Create it without starting backups yet.")
	o.creation.add(cmd)
	o.backupFlags.complete(f, cmd)
	return cmd
}

const scheduleCreateExamples = `  # Every night at one, kept for a week
  %[1]s schedule create nightly --schedule "0 1 * * *" --ttl 168h

  # Every six hours, one namespace
  %[1]s schedule create shop --schedule "@every 6h" --include-namespaces shop

  # Every hour the Secrets of all namespaces whose names begin with db-
  %[1]s schedule create secrets --schedule "@hourly" --include-objects '*/secret/db-*'

  # In another time zone
  %[1]s schedule create paris --schedule "CRON_TZ=Europe/Paris 0 1 * * *"`

func (o *scheduleCreate) run(ctx context.Context, f *Factory) error {
	if err := o.checkFlags(); err != nil {
		return err
	}
	schedule := o.object(f.Namespace())
	return o.finish(f, "schedule", steps{
		objects: func() ([]runtime.Object, error) { return o.objects(ctx, f, schedule) },
		create:  func(s *session) error { return o.create(ctx, s, schedule) },
	})
}

// objects are for those who apply them by other means; the Schedule can't own
// the CronJob then.
func (o *scheduleCreate) objects(ctx context.Context, f *Factory, schedule *velerov1.Schedule) ([]runtime.Object, error) {
	s, err := f.connect()
	if err != nil {
		return nil, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, err
	}
	location, err := s.location(ctx, schedule.Spec.Template.StorageLocation)
	if err != nil {
		return nil, err
	}
	snapshots, err := s.chooseSnapshotLocations(ctx, &schedule.Spec.Template)
	if err != nil {
		return nil, err
	}
	schedule.Spec.Template.StorageLocation = location.Name
	return []runtime.Object{schedule, scheduleCronJob(installed{template: template, location: location, snapshots: snapshots}, schedule)}, nil
}

func (o *scheduleCreate) checkFlags() error {
	if err := o.creation.check("schedule"); err != nil {
		return err
	}
	if o.schedule == "" {
		return fmt.Errorf("--schedule is missing; hint: for example --schedule \"0 1 * * *\" for every night at one")
	}
	if _, err := cron.ParseStandard(o.schedule); err != nil {
		return fmt.Errorf("--schedule %q is not a cron expression: %w; hint: five fields (minute hour day month weekday), or @every 6h, @daily", o.schedule, err)
	}
	return o.backupFlags.check()
}

func (o *scheduleCreate) object(namespace string) *velerov1.Schedule {
	return &velerov1.Schedule{
		ObjectMeta: o.meta(namespace, o.name),
		Spec: velerov1.ScheduleSpec{
			Template: o.spec(), Schedule: o.schedule, Paused: o.paused,
			UseOwnerReferencesInBackup: ptr.To(false),
		},
		Status: velerov1.ScheduleStatus{Phase: velerov1.SchedulePhaseEnabled},
	}
}

// scheduleCronJob is the CronJob of a Schedule, which owns it once it was created.
func scheduleCronJob(in installed, schedule *velerov1.Schedule) *batchv1.CronJob {
	op := launch.Operation{
		Kind: velerov1.OperationSchedule, Namespace: schedule.Namespace, Name: schedule.Name, UID: schedule.UID,
		Args:     []string{"backup", "--schedule", schedule.Name},
		Location: in.location, SnapshotLocations: in.snapshots,
	}
	if schedule.UID != "" {
		op.Owner = launch.Owner("Schedule", schedule.Name, schedule.UID)
	}
	expression, timeZone := splitTimeZone(schedule.Spec.Schedule)
	return launch.CronJob(in.template, op, expression, timeZone, schedule.Spec.Paused)
}

// splitTimeZone takes the time zone out of an expression: a CronJob has a field
// for it and refuses it in the expression.
func splitTimeZone(expression string) (string, string) {
	for _, prefix := range []string{"CRON_TZ=", "TZ="} {
		if rest, ok := strings.CutPrefix(expression, prefix); ok {
			timeZone, fields, _ := strings.Cut(rest, " ")
			return strings.TrimSpace(fields), timeZone
		}
	}
	return expression, ""
}

func (o *scheduleCreate) create(ctx context.Context, s *session, schedule *velerov1.Schedule) error {
	in, err := s.readyForBackups(ctx, schedule.Annotations, &schedule.Spec.Template,
		permission{verb: "create", group: "velero.io", resource: "schedules"},
		permission{verb: "create", group: "batch", resource: "cronjobs"})
	if err != nil {
		return err
	}
	created, err := s.velero.Schedules(s.namespace).Create(ctx, schedule, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("schedule %q exists already; hint: choose another name, or delete it: kubectl -n %s delete schedules.velero.io %s", o.name, s.namespace, o.name)
	}
	if err != nil {
		return s.explain(fmt.Sprintf("create schedule %q", o.name), err)
	}
	if err := s.createCronJob(ctx, scheduleCronJob(in, created)); err != nil {
		// A Schedule that nothing runs would be a lie.
		return s.withdraw(ctx, created, err)
	}
	fmt.Fprintf(s.Out, "Schedule %q created successfully.\n", created.Name)
	return nil
}

func (s *session) createCronJob(ctx context.Context, job *batchv1.CronJob) error {
	_, err := s.kube.BatchV1().CronJobs(job.Namespace).Create(ctx, job, metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return s.explain(fmt.Sprintf("create CronJob %q", job.Name), err)
	}
	return nil
}

func (s *session) withdraw(ctx context.Context, schedule *velerov1.Schedule, why error) error {
	ctx = context.WithoutCancel(ctx)
	err := s.velero.Schedules(s.namespace).Delete(ctx, schedule.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(schedule.UID)),
	})
	if err != nil {
		s.warn("schedule %q was created and can't be deleted again: %v", schedule.Name, err)
	}
	return why
}

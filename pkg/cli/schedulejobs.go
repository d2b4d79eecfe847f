package cli

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// schedulesIn finds the schedules whose backups go to one of the locations, or to
// whichever is the default, and asks for the permissions to change their CronJobs
// where there are any.
func (s *session) schedulesIn(ctx context.Context, locations ...string) ([]velerov1.Schedule, error) {
	uses := map[string]bool{"": true}
	for _, name := range locations {
		uses[name] = true
	}
	return s.schedulesThat(ctx, "stores its backups in "+enumerate(inQuotes(locations)), func(spec *velerov1.BackupSpec) bool { return uses[spec.StorageLocation] })
}

// schedulesWithSnapshots finds the schedules whose backups may use snapshot locations,
// as schedulesIn does.
func (s *session) schedulesWithSnapshots(ctx context.Context) ([]velerov1.Schedule, error) {
	return s.schedulesThat(ctx, "takes snapshots of volumes", takesSnapshots)
}

// schedulesThat finds the schedules whose backups do what is said of them.
func (s *session) schedulesThat(ctx context.Context, what string, do func(*velerov1.BackupSpec) bool) ([]velerov1.Schedule, error) {
	list, err := s.velero.Schedules(s.namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		s.warn("schedules may not be listed; hint: if any %s, have somebody who may run the same command", what)
		return nil, nil
	}
	if err != nil {
		return nil, s.explain("list schedules", err)
	}
	found := slices.DeleteFunc(list.Items, func(schedule velerov1.Schedule) bool { return !do(&schedule.Spec.Template) })
	if len(found) == 0 {
		return nil, nil
	}
	return found, s.mustBeAllowed(ctx, permission{verb: "get", resource: "podtemplates"},
		permission{verb: "get", group: "batch", resource: "cronjobs"}, permission{verb: "update", group: "batch", resource: "cronjobs"})
}

// refreshCronJobs gives the CronJobs of schedules what their storage locations need
// now: a CronJob holds a copy of it from the day when it was made. Locations that are
// gone are told.
func (s *session) refreshCronJobs(ctx context.Context, schedules []velerov1.Schedule) error {
	if len(schedules) == 0 {
		return nil
	}
	locations, err := s.velero.BackupStorageLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return s.explain("list storage locations", err)
	}
	template, err := s.template(ctx)
	if err != nil {
		return err
	}
	for i := range schedules {
		schedule := &schedules[i]
		location, err := chooseLocation(locations.Items, schedule.Spec.Template.StorageLocation)
		if err != nil {
			s.warn("the backups of schedule %q will fail, since it has no storage location any more; hint: create one of that name, or another schedule", schedule.Name)
			continue
		}
		snapshots, err := s.chooseSnapshotLocations(ctx, &schedule.Spec.Template)
		if err != nil {
			s.warn("the backups of schedule %q will fail: %v", schedule.Name, err)
			continue
		}
		if err := s.refreshCronJob(ctx, installed{template: template, location: location, snapshots: snapshots}, schedule); err != nil {
			return err
		}
		if location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly {
			s.warn("the backups of schedule %q will fail, since storage location %q is read-only", schedule.Name, location.Name)
		}
	}
	return nil
}

// refreshCronJob leaves alone a CronJob that has what its location needs, and of
// others when they run and whether they are suspended. A schedule without a CronJob is
// for `schedule get` to tell.
func (s *session) refreshCronJob(ctx context.Context, in installed, schedule *velerov1.Schedule) error {
	want := scheduleCronJob(in, schedule)
	jobs := s.kube.BatchV1().CronJobs(s.namespace)
	changed := false
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		job, err := jobs.Get(ctx, launch.CronJobName(schedule.Name), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if sameMounts(job, want) {
			return nil
		}
		job.Spec.JobTemplate.Spec = want.Spec.JobTemplate.Spec
		_, err = jobs.Update(ctx, job, metav1.UpdateOptions{FieldManager: fieldManager})
		changed = err == nil
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return s.explain(fmt.Sprintf("bring CronJob %q up to date", want.Name), err)
	}
	if changed {
		fmt.Fprintf(s.ErrOut, "note: CronJob %q of schedule %q was brought up to date\n", want.Name, schedule.Name)
	}
	return nil
}

// sameMounts reports whether two CronJobs' pods have the same of their locations.
func sameMounts(a, b *batchv1.CronJob) bool {
	return mountsHash(a) == mountsHash(b) && slices.Equal(
		launch.SnapshotCredentialFolders(&a.Spec.JobTemplate.Spec.Template.Spec),
		launch.SnapshotCredentialFolders(&b.Spec.JobTemplate.Spec.Template.Spec))
}

// mountsHash tells which location's mounts a CronJob's pods have; empty for none.
func mountsHash(job *batchv1.CronJob) string {
	for _, container := range job.Spec.JobTemplate.Spec.Template.Spec.Containers {
		for _, variable := range container.Env {
			if variable.Name == launch.LocationMountsVariable {
				return variable.Value
			}
		}
	}
	return ""
}

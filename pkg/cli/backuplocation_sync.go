package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// syncFlags say how storage locations are synced.
type syncFlags struct {
	force        bool
	startTimeout time.Duration
}

func newBackupLocationSync(f *Factory, use string) *cobra.Command {
	o := syncFlags{}
	all := false
	startTimeout := flag.Duration{Value: defaultStartTimeout}
	cmd := &cobra.Command{
		Use:   use + " (NAMES | --all)",
		Short: "Bring the cluster's list of backups in line with what is stored",
		Long: "Bring the cluster's list of backups in line with what is stored: backups that others wrote appear, and those that are gone from the bucket disappear. " +
			"A Job does it, and so does the hourly maintenance. Backups that are being made or deleted are left alone. " +
			"When a location is empty, or more than half of its backups would disappear at once, nothing is removed: most often the location points to another place by mistake.",
		Example: f.examples(`  # One location
  %[1]s backup-location sync default

  # All of them
  %[1]s backup-location sync --all

  # The bucket was emptied on purpose
  %[1]s backup-location sync default --force`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) > 0) == all {
				return errors.New("say what to sync in exactly one way: names or --all")
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			o.startTimeout = startTimeout.Value
			return o.run(cmd.Context(), s, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&all, "all", false, "Sync all storage locations.")
	fs.BoolVar(&o.force, "force", false, "Remove from the cluster what is gone from the bucket, also when that is everything.")
	fs.Var(&startTimeout, "start-timeout", "Give up when a Job has not started within this time; 0 waits for ever.")
	f.completeArgs(cmd, completeLocations)
	return cmd
}

func (o syncFlags) run(ctx context.Context, s *session, names []string) error {
	locations, err := s.locations(ctx, names, "")
	if err != nil {
		return err
	}
	if len(locations) == 0 {
		return fmt.Errorf("namespace %q has no storage location; hint: `%s backup-location create` makes one", s.namespace, s.name)
	}
	results, err := s.sync(ctx, o, locations)
	if err != nil {
		return err
	}
	var failed error
	for _, r := range results {
		if r.err == nil {
			fmt.Fprintln(s.Out, r)
			continue
		}
		PrintError(s.ErrOut, failed) // the last one is returned
		failed = r.err
	}
	return failed
}

// synced is what became of one storage location.
type synced struct {
	location       string
	added, removed int
	err            error
}

// String is the line that tells of it.
func (r synced) String() string {
	return fmt.Sprintf("Storage location %q synced: %s added, %d removed.", r.location, count(r.added, "backup"), r.removed)
}

// sync syncs the locations, all at once, and follows each to its end. The error is
// one that keeps all of them from being synced.
func (s *session) sync(ctx context.Context, o syncFlags, locations []velerov1.BackupStorageLocation) ([]synced, error) {
	if err := s.mustBeAllowed(ctx, permission{verb: "create", group: "batch", resource: "jobs"},
		permission{verb: "get", resource: "podtemplates"}, permission{verb: "list", group: "velero.io", resource: "backups"}); err != nil {
		return nil, err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return nil, err
	}
	before, err := s.backupsByLocation(ctx)
	if err != nil {
		return nil, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, err
	}
	results, jobs := make([]synced, len(locations)), make([]string, len(locations))
	for i := range locations {
		results[i].location = locations[i].Name
		jobs[i], results[i].err = s.startSync(ctx, template, o, &locations[i])
	}
	s.observer.StartTimeout = o.startTimeout
	for i := range results {
		if r := &results[i]; r.err == nil {
			r.err = s.followSync(ctx, r.location, jobs[i])
		}
	}
	after, err := s.backupsByLocation(ctx)
	if err != nil {
		return nil, err
	}
	for i := range results {
		r := &results[i]
		r.added = after[r.location].Difference(before[r.location]).Len()
		r.removed = before[r.location].Difference(after[r.location]).Len()
	}
	return results, nil
}

// backupsByLocation are the names of the cluster's backups.
func (s *session) backupsByLocation(ctx context.Context) (map[string]sets.Set[string], error) {
	backups, err := s.backups(ctx, nil, "")
	if err != nil {
		return nil, err
	}
	all := map[string]sets.Set[string]{}
	for i := range backups {
		location := backups[i].Spec.StorageLocation
		if all[location] == nil {
			all[location] = sets.New[string]()
		}
		all[location].Insert(backups[i].Name)
	}
	return all, nil
}

// startSync starts the Job of one location and gives its name.
func (s *session) startSync(ctx context.Context, template *corev1.PodTemplate, o syncFlags, location *velerov1.BackupStorageLocation) (string, error) {
	args := []string{"sync", "--location", location.Name}
	if o.force {
		args = append(args, "--force")
	}
	job, err := launch.Start(ctx, s.kube, launch.Job(template, launch.Operation{
		Kind: velerov1.OperationSync, Namespace: s.namespace, Name: location.Name, UID: uuid.NewUUID(),
		Args: args, Location: location, TTL: launch.ShortTTL,
	}))
	if err != nil {
		return "", fmt.Errorf("sync storage location %q: %w", location.Name, err)
	}
	return job.Name, nil
}

var syncNoun = noun{"sync of storage location", "Sync", "Syncing", velerov1.OperationSync}

// withdrawJob deletes a Job that nobody waits for any more.
func (s *session) withdrawJob(ctx context.Context, name string) {
	err := s.kube.BatchV1().Jobs(s.namespace).Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
	if err != nil && !apierrors.IsNotFound(err) {
		s.warn("Job %q can't be deleted: %v", name, err)
	}
}

func (s *session) followSync(ctx context.Context, location, job string) error {
	p := s.newProgress(ctx, syncNoun, location)
	state, verdict, err := s.observer.Follow(ctx, launch.Target{Operation: velerov1.OperationSync, Job: job}, p.show)
	p.end()
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return &outcomeError{outcome: report.Cancelled, text: fmt.Sprintf("stopped waiting; the sync of storage location %q goes on in the cluster", location)}
	case err != nil:
		return s.explain(fmt.Sprintf("follow Job %q, which goes on in the cluster", job), err)
	}
	if verdict.Summary != nil {
		for _, cause := range verdict.Summary.TopCauses {
			if !strings.Contains(verdict.Reason, cause) { // which is printed, too
				s.warn("%s", cause)
			}
		}
	}
	if verdict.Outcome == report.Completed {
		return nil
	}
	if state.Job != nil && !launch.Finished(state.Job) {
		s.withdrawJob(ctx, state.Job.Name)
	}
	how := "was not synced"
	if verdict.Outcome == report.PartiallyFailed {
		how = "was synced in part"
	}
	return &outcomeError{outcome: verdict.Outcome, text: fmt.Sprintf("storage location %q %s: %s", location, how, verdict.Reason)}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

type locationDelete struct {
	all      bool
	confirm  bool
	selector flag.Selector
}

func newBackupLocationDelete(f *Factory, use string) *cobra.Command {
	o := &locationDelete{}
	cmd := &cobra.Command{
		Use:   use + " [NAMES]",
		Short: "Forget storage locations; what is stored there stays",
		Long: "Delete storage locations, and the objects of their backups, from the cluster. What is stored there stays as it is: " +
			"a location that is created for the same bucket brings the backups back.",
		Example: f.examples(`  # One location
  %[1]s backup-location delete old

  # Without being asked
  %[1]s backup-location delete old --confirm`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkChoice(args, o.all, o.selector); err != nil {
				return err
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.all, "all", false, "Delete all storage locations.")
	fs.BoolVar(&o.confirm, "confirm", false, "Don't ask.")
	fs.VarP(&o.selector, "selector", "l", "Delete the storage locations that match this label selector.")
	f.completeArgs(cmd, completeLocations)
	return cmd
}

// checkChoice asks for exactly one way to say what to delete.
func checkChoice(names []string, all bool, selector flag.Selector) error {
	ways := 0
	for _, given := range []bool{len(names) > 0, all, selector.LabelSelector != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return errors.New("say what to delete in exactly one way: names, --all or --selector")
	}
	return nil
}

func (o *locationDelete) run(ctx context.Context, s *session, names []string) error {
	locations, err := s.locations(ctx, names, o.selector.String())
	if err != nil {
		return err
	}
	if len(locations) == 0 {
		fmt.Fprintln(s.Out, "No storage locations found")
		return nil
	}
	if err := s.mustBeAllowed(ctx, permission{verb: "delete", group: "velero.io", resource: "backupstoragelocations"},
		permission{verb: "list", group: "velero.io", resource: "backups"}, permission{verb: "delete", group: "velero.io", resource: "backups"},
		permission{verb: "list", group: "velero.io", resource: "restores"}); err != nil {
		return err
	}
	if err := s.mustHaveNoServer(ctx); err != nil {
		return err
	}
	going, err := s.contentsOf(ctx, locations)
	if err != nil {
		return err
	}
	schedules, err := s.schedulesIn(ctx, namesOf(locations)...)
	if err != nil {
		return err
	}
	if sure, err := o.sure(s, going); !sure || err != nil {
		return err
	}
	for _, g := range going {
		if err := g.delete(ctx, s); err != nil {
			return err
		}
	}
	return o.after(ctx, s, schedules)
}

func namesOf(locations []velerov1.BackupStorageLocation) []string {
	return names(locations, func(i int) string { return locations[i].Name })
}

// locationContents is a storage location and what the cluster knows of it.
type locationContents struct {
	location *velerov1.BackupStorageLocation
	backups  []velerov1.Backup
}

// contentsOf finds the backups of each location, and refuses while anything works in
// one of them.
func (s *session) contentsOf(ctx context.Context, locations []velerov1.BackupStorageLocation) ([]locationContents, error) {
	all, err := s.backups(ctx, nil, "")
	if err != nil {
		return nil, err
	}
	contents := make([]locationContents, len(locations))
	for i := range locations {
		c := &contents[i]
		c.location = &locations[i]
		for _, b := range all {
			if b.Spec.StorageLocation == c.location.Name {
				c.backups = append(c.backups, b)
			}
		}
		if err := s.noneRuns(ctx, c.backups); err != nil {
			return nil, fmt.Errorf("storage location %q: %w", c.location.Name, err)
		}
	}
	return contents, s.noRestoreFrom(ctx, contents)
}

// noRestoreFrom refuses while a restore reads from one of the locations.
func (s *session) noRestoreFrom(ctx context.Context, contents []locationContents) error {
	restores, err := s.restores(ctx, nil, "")
	if err != nil {
		return err
	}
	verdicts, err := s.judgeRestores(ctx, restores)
	if err != nil {
		return err
	}
	for i, v := range verdicts {
		if v.Standing == launch.Ended {
			continue
		}
		for _, c := range contents {
			if slices.ContainsFunc(c.backups, func(b velerov1.Backup) bool { return b.Name == restores[i].Spec.BackupName }) {
				return fmt.Errorf("storage location %q: restore %q reads from it; hint: wait until that has ended (`%s restore get %s`)",
					c.location.Name, restores[i].Name, s.name, restores[i].Name)
			}
		}
	}
	return nil
}

// sure asks, unless --confirm was given.
func (o *locationDelete) sure(s *session, going []locationContents) (bool, error) {
	if o.confirm {
		return true, nil
	}
	if !isTerminal(s.In) {
		return false, errors.New("nobody can be asked whether to delete, since the input is not a terminal; hint: --confirm deletes without asking")
	}
	texts := make([]string, len(going))
	for i, g := range going {
		texts[i] = fmt.Sprintf("%s (%s)", g.location.Name, count(len(g.backups), "backup"))
	}
	return ask(s, fmt.Sprintf("Take %s out of the cluster? What is stored there stays. (y/N) ", strings.Join(texts, ", ")))
}

// delete takes the location away first, so that nothing brings its backups back
// while they go.
func (c locationContents) delete(ctx context.Context, s *session) error {
	name := c.location.Name
	err := s.velero.BackupStorageLocations(s.namespace).Delete(ctx, name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(c.location.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return s.explain(fmt.Sprintf("delete storage location %q", name), err)
	}
	fmt.Fprintf(s.Out, "Backup storage location %q deleted successfully.\n", name)
	for i := range c.backups {
		if err := c.forget(ctx, s, &c.backups[i]); err != nil {
			return err
		}
	}
	if err := c.forgetRepositories(ctx, s); err != nil {
		return err
	}
	fmt.Fprintf(s.ErrOut, "note: what is stored in %s stays as it is\n", c.where())
	return nil
}

func (c locationContents) forget(ctx context.Context, s *session, backup *velerov1.Backup) error {
	err := s.velero.Backups(s.namespace).Delete(ctx, backup.Name, metav1.DeleteOptions{
		Preconditions:     metav1.NewUIDPreconditions(string(backup.UID)),
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return s.explain(fmt.Sprintf("storage location %q is deleted, and backup %q is not; hint: kubectl -n %s delete backups.velero.io -l %s=%s",
			c.location.Name, backup.Name, s.namespace, velerov1.StorageLocationLabel, velerov1.ValidName(c.location.Name)), err)
	}
	fmt.Fprintf(s.Out, "Backup %q associated with deleted BSL %q deleted successfully.\n", backup.Name, c.location.Name)
	return nil
}

// forgetRepositories deletes what a Velero server noted of the location's
// repositories, as Velero does.
func (c locationContents) forgetRepositories(ctx context.Context, s *session) error {
	repositories := s.velero.BackupRepositories(s.namespace)
	selector := labels.Set{velerov1.StorageLocationLabel: velerov1.ValidName(c.location.Name)}
	list, err := repositories.List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return s.explain("list backup repositories", err)
	}
	for _, r := range list.Items {
		if err := repositories.Delete(ctx, r.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return s.explain(fmt.Sprintf("delete backup repository %q", r.Name), err)
		}
		fmt.Fprintf(s.Out, "Backup repository %q associated with deleted BSL %q deleted successfully.\n", r.Name, c.location.Name)
	}
	return nil
}

// where is the place that keeps the backups.
func (c locationContents) where() string {
	if claim := launch.MountsOf(c.location).Claim; claim != "" {
		return fmt.Sprintf("PersistentVolumeClaim %q", claim)
	}
	return fmt.Sprintf("bucket %q", placeOf(c.location))
}

// after tells what the deletion means for what is left.
func (o *locationDelete) after(ctx context.Context, s *session, schedules []velerov1.Schedule) error {
	left, err := s.locations(ctx, nil, "")
	if err != nil {
		return err
	}
	s.tellNoDefault(left)
	return s.refreshCronJobs(ctx, schedules)
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// getFlags choose objects and how they are shown.
type getFlags struct {
	selector string
	output   *output
}

func newGet(f *Factory, use, short, example string, list candidates, run func(context.Context, *session, []string, *getFlags) error) *cobra.Command {
	o := &getFlags{output: newOutput("")}
	cmd := &cobra.Command{
		Use:     use + " [NAMES]",
		Short:   short,
		Example: f.examples(example),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args); err != nil {
				return err
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			return run(cmd.Context(), s, args, o)
		},
	}
	cmd.Flags().StringVarP(&o.selector, "selector", "l", "", "Show only what matches this label selector.")
	o.output.add(cmd, true)
	f.completeArgs(cmd, list)
	return cmd
}

func (o *getFlags) check(names []string) error {
	if len(names) > 0 && o.selector != "" {
		return fmt.Errorf("names and --selector can't be used together")
	}
	return o.output.check()
}

func newBackupGet(f *Factory, use string) *cobra.Command {
	sync := false
	cmd := newGet(f, use, "List backups and how they fare", backupGetExamples, completeBackups,
		func(ctx context.Context, s *session, names []string, o *getFlags) error {
			if !sync {
				return runBackupGet(ctx, s, names, o)
			}
			failed := s.syncAll(ctx)
			return errors.Join(runBackupGet(ctx, s, names, o), failed)
		})
	cmd.Flags().BoolVar(&sync, "sync", false, "First bring in what is only in the storage locations, and take out what is gone there. Jobs do it.")
	return cmd
}

// syncAll syncs all storage locations and tells of it on ErrOut.
func (s *session) syncAll(ctx context.Context) error {
	locations, err := s.locations(ctx, nil, "")
	if err != nil || len(locations) == 0 {
		return err
	}
	results, err := s.sync(ctx, syncFlags{startTimeout: defaultStartTimeout}, locations)
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range results {
		if r.err != nil {
			failed = append(failed, r.err)
			continue
		}
		fmt.Fprintln(s.ErrOut, r)
	}
	return errors.Join(failed...)
}

const backupGetExamples = `  # All backups, with reasons
  %[1]s backup get -o wide

  # Also those that others wrote into the buckets since
  %[1]s backup get --sync

  # The phase of one
  %[1]s backup get shop -o jsonpath='{.status.phase}'`

func runBackupGet(ctx context.Context, s *session, names []string, o *getFlags) error {
	backups, err := s.backups(ctx, names, o.selector)
	if err != nil {
		return err
	}
	verdicts, err := s.judgeBackups(ctx, backups)
	if err != nil {
		return err
	}
	s.tellTroubles(backupNoun, verdicts, func(i int) string { return backups[i].Name })
	if !o.output.table() {
		return o.output.printList(s.Out, &velerov1.BackupList{Items: backups})
	}
	return o.output.printTable(s.Out, s.ErrOut, backupTable(backups, verdicts, s.now()), s.namespace)
}

// backups reads the named Backups, or all that match selector, in the order in
// which they are shown.
func (s *session) backups(ctx context.Context, names []string, selector string) ([]velerov1.Backup, error) {
	if len(names) == 0 {
		list, err := s.velero.Backups(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, s.explain("list backups", err)
		}
		sortBackups(list.Items)
		return list.Items, nil
	}
	backups := make([]velerov1.Backup, 0, len(names))
	for _, name := range names {
		b, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, s.notFound(backupNoun, name, err)
		}
		backups = append(backups, *b)
	}
	return backups, nil
}

// judgeBackups joins each Backup with its Job and pod, writes down the ends
// that nobody wrote, and updates backups with them.
func (s *session) judgeBackups(ctx context.Context, backups []velerov1.Backup) ([]launch.Verdict, error) {
	states, err := s.observer.ObserveBackups(ctx, backups)
	if err != nil {
		return nil, s.explain("see how the backups fare", err)
	}
	verdicts := make([]launch.Verdict, len(states))
	for i, state := range states {
		if verdicts[i], err = s.settle(ctx, state); err != nil {
			return nil, err
		}
		if state.CR.ResourceVersion == backups[i].ResourceVersion && !verdicts[i].MayWrite {
			continue
		}
		if fresh, err := s.velero.Backups(s.namespace).Get(ctx, backups[i].Name, metav1.GetOptions{}); err == nil {
			backups[i] = *fresh
		}
	}
	return verdicts, nil
}

// stamped matches the names of scheduled backups.
var stamped = regexp.MustCompile(`^(.*)-\d{14}$`)

// sortBackups sorts by name; those that differ only in a time stamp come newest
// first.
func sortBackups(backups []velerov1.Backup) {
	series := func(name string) string {
		if m := stamped.FindStringSubmatch(name); m != nil {
			return m[1]
		}
		return name
	}
	slices.SortFunc(backups, func(a, b velerov1.Backup) int {
		if order := cmp.Compare(series(a.Name), series(b.Name)); order != 0 {
			return order
		}
		return cmp.Compare(b.Name, a.Name)
	})
}

func backupTable(backups []velerov1.Backup, verdicts []launch.Verdict, now time.Time) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns("Name", "Status", "Errors", "Warnings", "Created", "Expires",
		"Storage Location", "Queue Position", "Selector", "+Items", "+Duration", "+Reason")}
	for i := range backups {
		b, v := &backups[i], verdicts[i]
		t.Rows = append(t.Rows, row(b, b.Name, backupStatus(b, v), b.Status.Errors, b.Status.Warnings,
			b.Status.StartTimestamp, expires(b, now), b.Spec.StorageLocation, queuePosition(b),
			metav1.FormatLabelSelector(b.Spec.LabelSelector),
			backupItems(b), took(b.Status.StartTimestamp, b.Status.CompletionTimestamp), reasonCell(v)))
	}
	return t
}

func backupStatus(b *velerov1.Backup, v launch.Verdict) string {
	switch {
	case b.DeletionTimestamp != nil:
		return string(velerov1.BackupPhaseDeleting)
	case b.Status.Phase == "":
		return string(velerov1.BackupPhaseNew)
	case v.Standing == launch.Ended && v.MayWrite && !b.Status.Phase.Terminal():
		return v.Outcome.Phase() // known, though it could not be written down
	}
	return string(b.Status.Phase)
}

// expires is when the backup may be removed, from now.
func expires(b *velerov1.Backup, now time.Time) string {
	var at time.Time
	switch {
	case b.Status.Expiration != nil:
		at = b.Status.Expiration.Time
	case b.Spec.TTL.Duration > 0 && !b.CreationTimestamp.IsZero():
		at = b.CreationTimestamp.Add(b.Spec.TTL.Duration)
	default:
		return "n/a"
	}
	if at.Before(now) {
		return duration.ShortHumanDuration(now.Sub(at)) + " ago"
	}
	return duration.ShortHumanDuration(at.Sub(now))
}

func queuePosition(b *velerov1.Backup) any {
	if b.Status.QueuePosition == 0 {
		return ""
	}
	return b.Status.QueuePosition
}

func backupItems(b *velerov1.Backup) string {
	if p := b.Status.Progress; p != nil {
		return fmt.Sprintf("%d/%d", p.ItemsBackedUp, p.TotalItems)
	}
	return ""
}

func took(from, to *metav1.Time) string {
	if from == nil || to == nil {
		return ""
	}
	return duration.HumanDuration(to.Sub(from.Time))
}

// reasonCell is what a wide table says about something that isn't simply done.
func reasonCell(v launch.Verdict) string {
	text := v.Cause
	if v.Standing == launch.Ended {
		text = v.Reason
	}
	what, _, _ := strings.Cut(text, "; hint: ")
	return what
}

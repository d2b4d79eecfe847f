package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

func newRestoreGet(f *Factory, use string) *cobra.Command {
	return newGet(f, use, "List restores and how they fare", restoreGetExamples, completeRestores, runRestoreGet)
}

const restoreGetExamples = `  # All restores, with reasons
  %[1]s restore get -o wide`

func runRestoreGet(ctx context.Context, s *session, names []string, o *getFlags) error {
	restores, err := s.restores(ctx, names, o.selector)
	if err != nil {
		return err
	}
	verdicts, err := s.judgeRestores(ctx, restores)
	if err != nil {
		return err
	}
	s.tellTroubles(restoreNoun, verdicts, func(i int) string { return restores[i].Name })
	if !o.output.table() {
		return o.output.printList(s.Out, &velerov1.RestoreList{Items: restores})
	}
	return o.output.printTable(s.Out, s.ErrOut, restoreTable(restores, verdicts), s.namespace)
}

// restores reads the named Restores, or all that match selector, by name.
func (s *session) restores(ctx context.Context, names []string, selector string) ([]velerov1.Restore, error) {
	if len(names) == 0 {
		list, err := s.velero.Restores(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, s.explain("list restores", err)
		}
		slices.SortFunc(list.Items, func(a, b velerov1.Restore) int { return cmp.Compare(a.Name, b.Name) })
		return list.Items, nil
	}
	restores := make([]velerov1.Restore, 0, len(names))
	for _, name := range names {
		r, err := s.velero.Restores(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, s.notFound(restoreNoun, name, err)
		}
		restores = append(restores, *r)
	}
	return restores, nil
}

// judgeRestores does for Restores what judgeBackups does for Backups.
func (s *session) judgeRestores(ctx context.Context, restores []velerov1.Restore) ([]launch.Verdict, error) {
	states, err := s.observer.ObserveRestores(ctx, restores)
	if err != nil {
		return nil, s.explain("see how the restores fare", err)
	}
	verdicts := make([]launch.Verdict, len(states))
	for i, state := range states {
		if verdicts[i], err = s.settle(ctx, state); err != nil {
			return nil, err
		}
		if state.CR.ResourceVersion == restores[i].ResourceVersion && !verdicts[i].MayWrite {
			continue
		}
		if fresh, err := s.velero.Restores(s.namespace).Get(ctx, restores[i].Name, metav1.GetOptions{}); err == nil {
			restores[i] = *fresh
		}
	}
	return verdicts, nil
}

func restoreTable(restores []velerov1.Restore, verdicts []launch.Verdict) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns("Name", "Backup", "Status", "Started", "Completed", "Errors", "Warnings",
		"Created", "Selector", "+Items", "+Duration", "+Reason")}
	for i := range restores {
		r, v := &restores[i], verdicts[i]
		t.Rows = append(t.Rows, row(r, r.Name, r.Spec.BackupName, restoreStatus(r, v), r.Status.StartTimestamp, r.Status.CompletionTimestamp,
			r.Status.Errors, r.Status.Warnings, r.CreationTimestamp, metav1.FormatLabelSelector(r.Spec.LabelSelector),
			restoreItems(r), took(r.Status.StartTimestamp, r.Status.CompletionTimestamp), reasonCell(v)))
	}
	return t
}

func restoreStatus(r *velerov1.Restore, v launch.Verdict) string {
	switch {
	case r.DeletionTimestamp != nil:
		return "Deleting"
	case r.Status.Phase == "":
		return string(velerov1.RestorePhaseNew)
	case v.Standing == launch.Ended && v.MayWrite && !r.Status.Phase.Terminal():
		return v.Outcome.Phase()
	}
	return string(r.Status.Phase)
}

func restoreItems(r *velerov1.Restore) string {
	if p := r.Status.Progress; p != nil {
		return fmt.Sprintf("%d/%d", p.ItemsRestored, p.TotalItems)
	}
	return ""
}

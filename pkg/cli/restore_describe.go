package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

func newRestoreDescribe(f *Factory, use string) *cobra.Command {
	return newDescribe(f, restoreNoun, use, restoreDescribeExamples, completeRestores, runRestoreDescribe)
}

const restoreDescribeExamples = `  # What became of each object
  %[1]s restore describe shop-20260102030405 --details`

func runRestoreDescribe(ctx context.Context, s *session, names []string, o *describeFlags) error {
	restores, err := s.restores(ctx, names, o.selector)
	if err != nil {
		return err
	}
	if len(restores) == 0 {
		fmt.Fprintf(s.ErrOut, "No resources found in namespace %s\n", s.namespace)
		return nil
	}
	for i := range restores {
		d, err := s.describeRestore(ctx, restores[i].Name, o)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprint(s.Out, "\n\n")
		}
		if err := d.Write(s.Out); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// describeRestore gathers what is known of one restore.
func (s *session) describeRestore(ctx context.Context, name string, o *describeFlags) (describe.Restore, error) {
	state, err := s.observer.Observe(ctx, launch.Target{Operation: velerov1.OperationRestore, Name: name})
	if err != nil {
		return describe.Restore{}, s.explain(fmt.Sprintf("see how restore %q fares", name), err)
	}
	verdict, err := s.settle(ctx, state)
	if err != nil {
		return describe.Restore{}, err
	}
	restore, err := s.velero.Restores(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return describe.Restore{}, s.notFound(restoreNoun, name, err)
	}
	d := describe.Restore{Restore: restore, Program: s.name, Standing: standing(state, verdict)}
	if !restore.Status.Phase.Terminal() {
		return d, nil
	}
	folder := folder{name: name, prefix: "restores/" + name + "/"}
	var all []wanted
	if restore.Status.Errors+restore.Status.Warnings > 0 {
		all = append(all, into(&d.Results, folder.prefix+"restore-"+name+resultsSuffix))
	}
	if o.details {
		all = append(all, into(&d.ResourceList, folder.prefix+"restore-"+name+resourceListSuffix))
	}
	if len(all) == 0 {
		return d, nil
	}
	if folder.location, err = s.locationOf(ctx, restore); err != nil {
		d.Results.Err, d.ResourceList.Err = err, err
		return d, nil
	}
	s.fetch(ctx, folder, o.timeout, all)
	return d, nil
}

// locationOf names the storage location of a restore, which is its backup's.
func (s *session) locationOf(ctx context.Context, restore *velerov1.Restore) (string, error) {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, restore.Spec.BackupName, metav1.GetOptions{})
	if err != nil {
		return "", s.notFound(backupNoun, restore.Spec.BackupName, err)
	}
	return backup.Spec.StorageLocation, nil
}

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

func newBackupDescribe(f *Factory, use string) *cobra.Command {
	var format string
	cmd := newDescribe(f, backupNoun, use, backupDescribeExamples, completeBackups,
		func(ctx context.Context, s *session, names []string, o *describeFlags) error {
			o.format = format
			return runBackupDescribe(ctx, s, names, o)
		})
	cmd.Flags().StringVarP(&format, "output", "o", "plaintext", "plaintext, or json for exactly one backup.")
	return cmd
}

const backupDescribeExamples = `  # What is in a backup, object by object
  %[1]s backup describe shop --details

  # For a script
  %[1]s backup describe shop -o json`

func runBackupDescribe(ctx context.Context, s *session, names []string, o *describeFlags) error {
	if o.format != "plaintext" && o.format != "json" {
		return fmt.Errorf("output format %q is not known; hint: there are plaintext and json", o.format)
	}
	backups, err := s.backups(ctx, names, o.selector)
	if err != nil {
		return err
	}
	if len(backups) == 0 {
		fmt.Fprintf(s.ErrOut, "No resources found in namespace %s\n", s.namespace)
		return nil
	}
	for i := range backups {
		d, err := s.describeBackup(ctx, backups[i].Name, o)
		if err != nil {
			return err
		}
		if o.format == "json" && len(backups) == 1 {
			return d.WriteJSON(s.Out)
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

// describeBackup gathers what is known of one backup.
func (s *session) describeBackup(ctx context.Context, name string, o *describeFlags) (describe.Backup, error) {
	state, err := s.observer.Observe(ctx, launch.Target{Operation: velerov1.OperationBackup, Name: name})
	if err != nil {
		return describe.Backup{}, s.explain(fmt.Sprintf("see how backup %q fares", name), err)
	}
	verdict, err := s.settle(ctx, state)
	if err != nil {
		return describe.Backup{}, err
	}
	backup, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return describe.Backup{}, s.notFound(backupNoun, name, err)
	}
	d := describe.Backup{Backup: backup, Program: s.name, Standing: standing(state, verdict), Deletions: s.deletions(ctx, name)}
	readable := backup.Status.Phase == velerov1.BackupPhaseCompleted || backup.Status.Phase == velerov1.BackupPhasePartiallyFailed
	prefix := "backups/" + name + "/"
	d.Results, d.ResourceList = s.fetch(ctx, details{
		location: backup.Spec.StorageLocation, name: name, prefix: prefix,
		resultsKey: prefix + name + "-results.gz", listKey: prefix + name + "-resource-list.json.gz",
		results: readable && backup.Status.Errors+backup.Status.Warnings > 0,
		list:    readable && o.details,
	}, o.timeout)
	return d, nil
}

// deletions are Velero's requests to delete the backup; none where they can't
// be read.
func (s *session) deletions(ctx context.Context, name string) []velerov1.DeleteBackupRequest {
	selector := labels.Set{velerov1.BackupNameLabel: velerov1.ValidName(name)}
	list, err := s.velero.DeleteBackupRequests(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil
	}
	return list.Items
}

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

func newBackupDescribe(f *Factory, use string) *cobra.Command {
	var format string
	cmd := newDescribe(f, backupNoun, use, backupDescribeExamples, completeBackups,
		func(ctx context.Context, s *session, names []string, o *describeFlags) error {
			o.format = format
			return runBackupDescribe(ctx, s, names, o)
		})
	cmd.Flags().StringVarP(&format, "output", "o", plaintext, "plaintext, or json for exactly one backup.")
	f.describeOffline(cmd, &format)
	return cmd
}

// describeOffline adds the flag --file, with which no cluster is asked.
func (f *Factory) describeOffline(cmd *cobra.Command, format *string) {
	var file flag.Name
	cmd.Flags().Var(&file, "file", "Describe this archive (.tar.gz) on disk instead of a backup; no cluster is asked for anything.")
	_ = cmd.MarkFlagFilename("file", "tar.gz") // fails only for a flag that isn't there
	online := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if file == "" {
			return online(cmd, args)
		}
		if len(args) > 0 || cmd.Flags().Changed("selector") {
			return errors.New("--file is instead of names and --selector; hint: leave out one of the two")
		}
		details, err := cmd.Flags().GetBool("details")
		if err != nil {
			return err
		}
		return f.describeArchive(cmd.Context(), string(file), &describeFlags{details: details, format: *format})
	}
}

const backupDescribeExamples = `  # What is in a backup, object by object, and what is not
  %[1]s backup describe shop --details

  # What is in an archive that was downloaded
  %[1]s backup describe --file shop-data.tar.gz --details

  # For a script
  %[1]s backup describe shop -o json`

func runBackupDescribe(ctx context.Context, s *session, names []string, o *describeFlags) error {
	if err := checkDescribeFormat(o.format); err != nil {
		return err
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
		if o.format == outputJSON && len(backups) == 1 {
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

func checkDescribeFormat(format string) error {
	if format != plaintext && format != outputJSON {
		return fmt.Errorf("output format %q is not known; hint: there are plaintext and json", format)
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
	folder := folder{location: backup.Spec.StorageLocation, name: name, prefix: backupFolder(name)}
	s.fetch(ctx, folder, o.timeout, wantedOfBackup(&d, o.details))
	return d, nil
}

// wantedOfBackup are the objects that the description of a backup shows. One
// that didn't come to its end has none.
func wantedOfBackup(d *describe.Backup, details bool) []wanted {
	status, name := d.Backup.Status, d.Backup.Name
	if status.Phase != velerov1.BackupPhaseCompleted && status.Phase != velerov1.BackupPhasePartiallyFailed {
		return nil
	}
	var all []wanted
	if status.Errors+status.Warnings > 0 {
		all = append(all, into(&d.Results, backupKey(name, resultsSuffix)))
	}
	if details {
		all = append(all,
			into(&d.ResourceList, backupKey(name, resourceListSuffix)),
			into(&d.Coverage, backupKey(name, coverageSuffix)),
			into(&d.Volumes, backupKey(name, volumeInfoSuffix)))
	}
	return all
}

// The endings of the names of objects that only descriptions read.
const (
	resultsSuffix  = "-results.gz"
	coverageSuffix = "-coverage.json.gz"
)

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

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

func newRestoreDescribe(f *Factory, use string) *cobra.Command {
	format := flag.NewChoice(plaintext, outputJSON, outputYAML)
	format.Value = plaintext
	cmd := newDescribe(f, restoreNoun, use, restoreDescribeExamples, completeRestores,
		func(ctx context.Context, s *session, names []string, o *describeFlags) error {
			o.format = format.Value
			return runRestoreDescribe(ctx, s, names, o)
		})
	cmd.Flags().VarP(&format, "output", "o", "plaintext, json or yaml; several restores follow each other.")
	completeChoice(cmd, "output", format)
	return cmd
}

const restoreDescribeExamples = `  # What was restored, and how it went
  %[1]s restore describe shop-20260102030405

  # What became of each object
  %[1]s restore describe shop-20260102030405 --details

  # For a script: how many objects were created, and how many failed
  %[1]s restore describe shop-20260102030405 --details -o json | jq .status.outcome`

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
		if err := s.printRestore(d, o.format, i == 0); err != nil {
			return err
		}
	}
	return nil
}

// printRestore writes one of several descriptions.
func (s *session) printRestore(d describe.Restore, format string, first bool) error {
	write, between := d.Write, "\n\n"
	switch format {
	case outputJSON:
		write, between = d.WriteJSON, ""
	case outputYAML:
		write, between = d.WriteYAML, "---\n"
	}
	if !first {
		fmt.Fprint(s.Out, between)
	}
	if err := write(s.Out); err != nil {
		return fmt.Errorf("print: %w", err)
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
	d := describe.Restore{
		Restore: restore, Program: s.name, Standing: standing(state, verdict),
		PodVolumes: s.podVolumes(ctx, name), Details: o.details,
	}
	if !restore.Status.Phase.Terminal() {
		return d, nil
	}
	all := wantedOfRestore(&d, o.details)
	if len(all) == 0 {
		return d, nil
	}
	folder := folder{name: name, prefix: restoreFolder(name)}
	if folder.location, err = s.locationOf(ctx, restore); err != nil {
		d.Results.Err, d.ResourceList.Err = err, err
		return d, nil
	}
	s.fetch(ctx, folder, o.timeout, all)
	return d, nil
}

// wantedOfRestore are the objects that the description of a restore shows. One
// that was refused has none.
func wantedOfRestore(d *describe.Restore, details bool) []wanted {
	status, name := d.Restore.Status, d.Restore.Name
	if status.Phase == velerov1.RestorePhaseFailedValidation {
		return nil
	}
	var all []wanted
	if status.Errors+status.Warnings > 0 {
		all = append(all, into(&d.Results, restoreKey(name, resultsSuffix)))
	}
	if details {
		all = append(all,
			into(&d.ResourceList, restoreKey(name, resourceListSuffix)),
			into(&d.Volumes, restoreFolder(name)+name+volumeInfoSuffix))
	}
	return all
}

// volumeInfoSuffix ends the name of the one object of a restore that doesn't begin
// with "restore-".
const volumeInfoSuffix = "-volumeinfo.json.gz"

// podVolumes are Velero's records of volumes that are restored file by file; none
// where they can't be read.
func (s *session) podVolumes(ctx context.Context, restore string) []velerov1.PodVolumeRestore {
	selector := labels.Set{velerov1.RestoreNameLabel: velerov1.ValidName(restore)}
	list, err := s.velero.PodVolumeRestores(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil
	}
	return list.Items
}

// locationOf names the storage location of a restore, which is its backup's.
func (s *session) locationOf(ctx context.Context, restore *velerov1.Restore) (string, error) {
	backup, err := s.velero.Backups(s.namespace).Get(ctx, restore.Spec.BackupName, metav1.GetOptions{})
	if err != nil {
		return "", s.notFound(backupNoun, restore.Spec.BackupName, err)
	}
	return backup.Spec.StorageLocation, nil
}

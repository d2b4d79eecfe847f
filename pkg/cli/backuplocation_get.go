package cli

import (
	"cmp"
	"context"
	"path"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func newBackupLocationGet(f *Factory, use string) *cobra.Command {
	onlyDefault := false
	cmd := newGet(f, use, "List storage locations and whether they could be reached", locationGetExamples, completeLocations,
		func(ctx context.Context, s *session, names []string, o *getFlags) error {
			return runLocationGet(ctx, s, names, o, onlyDefault)
		})
	cmd.Flags().BoolVar(&onlyDefault, "default", false, "Show only the default one.")
	return cmd
}

const locationGetExamples = `  # All storage locations, with what is wrong with them
  %[1]s backup-location get -o wide

  # Where backups go that name no location
  %[1]s backup-location get --default -o name`

func runLocationGet(ctx context.Context, s *session, names []string, o *getFlags, onlyDefault bool) error {
	locations, err := s.locations(ctx, names, o.selector)
	if err != nil {
		return err
	}
	if onlyDefault {
		locations = slices.DeleteFunc(locations, func(l velerov1.BackupStorageLocation) bool { return !l.Spec.Default })
	}
	if !o.output.table() {
		return o.output.printList(s.Out, &velerov1.BackupStorageLocationList{Items: locations})
	}
	return o.output.printTable(s.Out, s.ErrOut, locationTable(locations), s.namespace)
}

// locations reads the named storage locations, or all that match selector, by name.
func (s *session) locations(ctx context.Context, names []string, selector string) ([]velerov1.BackupStorageLocation, error) {
	if len(names) == 0 {
		list, err := s.velero.BackupStorageLocations(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, s.explain("list storage locations", err)
		}
		slices.SortFunc(list.Items, func(a, b velerov1.BackupStorageLocation) int { return cmp.Compare(a.Name, b.Name) })
		return list.Items, nil
	}
	locations := make([]velerov1.BackupStorageLocation, 0, len(names))
	for _, name := range names {
		location, err := s.velero.BackupStorageLocations(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, s.notFound(locationNoun, name, err)
		}
		locations = append(locations, *location)
	}
	return locations, nil
}

// locationTable has Velero's columns, and more with -o wide.
func locationTable(locations []velerov1.BackupStorageLocation) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns("Name", "Provider", "Bucket/Prefix", "Phase", "Last Validated", "Access Mode", "Default",
		"+Last Synced", "+Credential", "+Message")}
	for i := range locations {
		l := &locations[i]
		isDefault := ""
		if l.Spec.Default {
			isDefault = "true"
		}
		t.Rows = append(t.Rows, row(l, l.Name, l.Spec.Provider, placeOf(l),
			cmp.Or(string(l.Status.Phase), "Unknown"), timeOr(l.Status.LastValidationTime, "Unknown"),
			string(cmp.Or(l.Spec.AccessMode, velerov1.BackupStorageLocationAccessModeReadWrite)), isDefault,
			timeOr(l.Status.LastSyncedTime, "Never"), secretKeyText(l.Spec.Credential), l.Status.Message))
	}
	return t
}

// placeOf is a location's bucket and prefix, as one.
func placeOf(l *velerov1.BackupStorageLocation) string {
	if l.Spec.ObjectStorage == nil {
		return ""
	}
	return path.Join(l.Spec.ObjectStorage.Bucket, l.Spec.ObjectStorage.Prefix)
}

func timeOr(at *metav1.Time, none string) any {
	if at == nil {
		return none
	}
	return at
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

var snapshotLocationNoun = noun{word: "snapshot-location", title: "Volume snapshot location"}

func newSnapshotLocationGet(f *Factory, use string) *cobra.Command {
	return newGet(f, use, "List the locations of volume snapshots", `  # All of them, with their credentials
  %[1]s snapshot-location get -o wide`, completeSnapshotLocations, runSnapshotLocationGet)
}

func runSnapshotLocationGet(ctx context.Context, s *session, names []string, o *getFlags) error {
	locations, err := s.snapshotLocations(ctx, names, o.selector)
	if err != nil {
		return err
	}
	if !o.output.table() {
		return o.output.printList(s.Out, &velerov1.VolumeSnapshotLocationList{Items: locations})
	}
	return o.output.printTable(s.Out, s.ErrOut, snapshotLocationTable(locations), s.namespace)
}

// snapshotLocations reads the named ones, or all that match selector, by name.
func (s *session) snapshotLocations(ctx context.Context, names []string, selector string) ([]velerov1.VolumeSnapshotLocation, error) {
	if len(names) == 0 {
		list, err := s.velero.VolumeSnapshotLocations(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return nil, s.explain("list snapshot locations", err)
		}
		slices.SortFunc(list.Items, func(a, b velerov1.VolumeSnapshotLocation) int { return cmp.Compare(a.Name, b.Name) })
		return list.Items, nil
	}
	locations := make([]velerov1.VolumeSnapshotLocation, 0, len(names))
	for _, name := range names {
		location, err := s.velero.VolumeSnapshotLocations(s.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, s.notFound(snapshotLocationNoun, name, err)
		}
		locations = append(locations, *location)
	}
	return locations, nil
}

func snapshotLocationTable(locations []velerov1.VolumeSnapshotLocation) *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns("Name", "Provider", "+Credential")}
	for i := range locations {
		l := &locations[i]
		t.Rows = append(t.Rows, row(l, l.Name, l.Spec.Provider, secretKeyText(l.Spec.Credential)))
	}
	return t
}

// secretKeyText shows the key of a Secret as flags take it.
func secretKeyText(key *corev1.SecretKeySelector) string {
	if key == nil {
		return "<none>"
	}
	return fmt.Sprintf("%s=%s", key.Name, key.Key)
}

func completeSnapshotLocations(ctx context.Context, s *session) []string {
	list, err := s.velero.VolumeSnapshotLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	return names(list.Items, func(i int) string { return list.Items[i].Name })
}

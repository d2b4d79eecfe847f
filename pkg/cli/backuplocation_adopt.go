package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

type locationAdopt struct {
	ids    flag.List
	remove bool
}

func newBackupLocationAdopt(f *Factory, use string) *cobra.Command {
	o := &locationAdopt{}
	cmd := &cobra.Command{
		Use:   use + " NAME --cluster-id ID",
		Short: "Count the backups of another cluster as this one's own",
		Long: "Count the backups that another cluster made in a storage location as this cluster's own: they then expire here, and can be deleted without --force. " +
			"It is for a cluster that was built anew and goes on with the bucket of the old one, which must be gone. " +
			"`backup-location check` tells which clusters' backups there are; the id is the UID of the cluster's namespace kube-system, " +
			"and " + velerov1.AdoptedUnknown + " stands for backups that don't say whose they are, as those of a Velero server don't.",
		Example: f.examples(`  # The old cluster is gone
  %[1]s backup-location adopt default --cluster-id 8b2bc1a6-6f4e-4d5c-9a3e-1f0f9b1c2d3e

  # What a Velero server left behind
  %[1]s backup-location adopt default --cluster-id unknown

  # Not any more
  %[1]s backup-location adopt default --cluster-id unknown --remove`),
		Args: oneName(locationNoun.word),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			s, err := f.connect()
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), s, args[0])
		},
	}
	fs := cmd.Flags()
	fs.Var(&o.ids, "cluster-id", "Ids of clusters, separated by commas, or unknown. Required.")
	fs.BoolVar(&o.remove, "remove", false, "Take the ids away again: these backups are another cluster's from now on.")
	f.completeFirst(cmd, completeLocations)
	return cmd
}

// clusterID is the form of a UID that an API server gives.
var clusterID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (o *locationAdopt) check() error {
	if len(o.ids) == 0 {
		return fmt.Errorf("--cluster-id is missing; hint: `backup-location check` lists the clusters whose backups are there; %q stands for those that don't say", velerov1.AdoptedUnknown)
	}
	for _, id := range o.ids {
		if id != velerov1.AdoptedUnknown && !clusterID.MatchString(id) && !o.remove {
			return fmt.Errorf("--cluster-id %q is no id of a cluster; hint: it is the UID of that cluster's namespace kube-system, as `backup-location check` lists it, or %q", id, velerov1.AdoptedUnknown)
		}
	}
	return nil
}

func (o *locationAdopt) run(ctx context.Context, s *session, name string) error {
	found, err := s.locations(ctx, []string{name}, "")
	if err != nil {
		return err
	}
	location := &found[0]
	before := adopted(location)
	after := o.apply(before)
	if slices.Equal(before, after) {
		fmt.Fprintf(s.Out, "Storage location %q has %s already.\n", name, adoptedText(before))
		return nil
	}
	if err := s.writeAdopted(ctx, location, after); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Storage location %q has %s.\n", name, adoptedText(after))
	if !o.remove {
		fmt.Fprintf(s.ErrOut, "note: their expired backups are deleted by the hourly maintenance of this cluster from now on\n")
	}
	return nil
}

func (o *locationAdopt) apply(ids []string) []string {
	out := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(o.ids, id) })
	if !o.remove {
		out = append(out, o.ids...)
		slices.Sort(out)
		out = slices.Compact(out)
	}
	return out
}

// adopted are the clusters whose backups count as this one's, sorted.
func adopted(location *velerov1.BackupStorageLocation) []string {
	var ids flag.List
	_ = ids.Set(location.Annotations[velerov1.AdoptedClustersAnnotation]) // a List takes any text
	slices.Sort(ids)
	return ids
}

func adoptedText(ids []string) string {
	if len(ids) == 0 {
		return "adopted no other cluster"
	}
	return "adopted " + strings.Join(ids, ", ")
}

// writeAdopted refuses to write over a change that it hasn't seen.
func (s *session) writeAdopted(ctx context.Context, location *velerov1.BackupStorageLocation, ids []string) error {
	var value any // null takes the annotation away
	if len(ids) > 0 {
		value = strings.Join(ids, ",")
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": location.ResourceVersion,
		"annotations":     map[string]any{velerov1.AdoptedClustersAnnotation: value},
	}})
	if err != nil {
		return fmt.Errorf("encode the change: %w", err)
	}
	_, err = s.velero.BackupStorageLocations(s.namespace).Patch(ctx, location.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return s.explain(fmt.Sprintf("change storage location %q", location.Name), err)
}

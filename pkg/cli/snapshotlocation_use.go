package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// mayListSnapshotLocations is what choosing and finding them needs.
var mayListSnapshotLocations = permission{verb: "list", group: "velero.io", resource: "volumesnapshotlocations"}

// takesSnapshots reports whether a backup may have to do with snapshot locations:
// with snapshots turned off only a policy can ask for some.
func takesSnapshots(spec *velerov1.BackupSpec) bool {
	return spec.SnapshotVolumes == nil || *spec.SnapshotVolumes || spec.ResourcePolicy != nil
}

// chooseSnapshotLocations finds those that a backup uses, and what they name.
func (s *session) chooseSnapshotLocations(ctx context.Context, spec *velerov1.BackupSpec) ([]velerov1.VolumeSnapshotLocation, error) {
	if !takesSnapshots(spec) {
		return nil, nil
	}
	all, err := s.snapshotLocations(ctx, nil, "")
	if err != nil {
		return nil, err
	}
	chosen, problems := volume.ChooseLocations(spec.VolumeSnapshotLocations, all)
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	return chosen, s.mustHaveCredentials(ctx, chosen)
}

// mustHaveCredentials refuses snapshot locations that name a Secret which isn't there:
// no pod of theirs would start.
func (s *session) mustHaveCredentials(ctx context.Context, locations []velerov1.VolumeSnapshotLocation) error {
	for _, location := range locations {
		if location.Spec.Credential == nil {
			continue
		}
		if err := s.checkSecretKey(ctx, fmt.Sprintf("snapshot location %q", location.Name), location.Spec.Credential, checkNotEmpty); err != nil {
			return err
		}
	}
	return nil
}

// snapshotLocationsOf finds those that a backup was made with, as far as there are
// any; of a backup that nobody knows, nil, it may be all.
func (s *session) snapshotLocationsOf(ctx context.Context, backup *velerov1.Backup) ([]velerov1.VolumeSnapshotLocation, error) {
	if backup != nil && len(backup.Spec.VolumeSnapshotLocations) == 0 {
		return nil, nil
	}
	all, err := s.velero.VolumeSnapshotLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain("list snapshot locations", err)
	}
	if backup == nil {
		return all.Items, s.mustHaveCredentials(ctx, all.Items)
	}
	named := slices.DeleteFunc(all.Items, func(l velerov1.VolumeSnapshotLocation) bool {
		return !slices.Contains(backup.Spec.VolumeSnapshotLocations, l.Name)
	})
	return named, s.mustHaveCredentials(ctx, named)
}

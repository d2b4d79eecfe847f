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
	for _, location := range chosen {
		if err := s.checkCredentials(ctx, location); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// checkCredentials refuses a snapshot location that names a Secret which isn't there:
// no pod with it would start.
func (s *session) checkCredentials(ctx context.Context, location velerov1.VolumeSnapshotLocation) error {
	if location.Spec.Credential == nil {
		return nil
	}
	return s.checkSecretKey(ctx, fmt.Sprintf("snapshot location %q", location.Name), location.Spec.Credential, checkNotEmpty)
}

// snapshotLocationsOf finds those that a backup was made with, as far as there are
// any; of a backup that nobody knows, nil, it may be all. One without its credentials
// is left out with a warning: whether it is needed only the Job finds out, and says.
func (s *session) snapshotLocationsOf(ctx context.Context, backup *velerov1.Backup) ([]velerov1.VolumeSnapshotLocation, error) {
	if backup != nil && len(backup.Spec.VolumeSnapshotLocations) == 0 {
		return nil, nil
	}
	all, err := s.velero.VolumeSnapshotLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain("list snapshot locations", err)
	}
	return slices.DeleteFunc(all.Items, func(l velerov1.VolumeSnapshotLocation) bool {
		if backup != nil && !slices.Contains(backup.Spec.VolumeSnapshotLocations, l.Name) {
			return true
		}
		err := s.checkCredentials(ctx, l)
		if err != nil {
			s.warn("its snapshots can't be reached: %v", err)
		}
		return err != nil
	}), nil
}

package gcepd

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// drivers are the CSI drivers whose volumes are disks of Compute Engine.
var drivers = []string{"pd.csi.storage.gke.io", "gcp.csi.confidential.cloud"}

// multiZone stands in a handle for a zone where the volume is a disk in each of
// several zones, which is only read.
const multiZone = "multi-zone"

// diskHandle is the handle of a volume of the CSI drivers.
var diskHandle = regexp.MustCompile(`^projects/([^/]+)/(zones|regions)/([^/]+)/disks/([^/]+)$`)

// VolumeID implements snapshot.Snapshotter. The id is the name of the disk.
func (s *Snapshotter) VolumeID(pv *corev1.PersistentVolume) (string, error) {
	if disk := pv.Spec.GCEPersistentDisk; disk != nil {
		if disk.PDName == "" {
			return "", s.config.Errorf("volume %q: spec.gcePersistentDisk names no disk", pv.Name)
		}
		return disk.PDName, nil
	}
	if pv.Spec.CSI == nil || !slices.Contains(drivers, pv.Spec.CSI.Driver) {
		return "", nil
	}
	handle, err := parseHandle(pv.Spec.CSI.VolumeHandle)
	if err != nil {
		return "", s.config.Errorf("volume %q of driver %q: %w", pv.Name, pv.Spec.CSI.Driver, err)
	}
	return handle.disk, nil
}

// handle is where the disk of a CSI volume is.
type handle struct{ project, scope, place, disk string }

func parseHandle(text string) (handle, error) {
	parts := diskHandle.FindStringSubmatch(text)
	if parts == nil {
		return handle{}, fmt.Errorf("handle %q is not of the form projects/PROJECT/zones/ZONE/disks/NAME or projects/PROJECT/regions/REGION/disks/NAME", text)
	}
	if parts[3] == multiZone {
		return handle{}, fmt.Errorf("handle %q stands for one disk in each of several zones, which can't be made from a snapshot; hint: have a volume policy skip it", text)
	}
	return handle{project: parts[1], scope: parts[2], place: parts[3], disk: parts[4]}, nil
}

func (h handle) String() string {
	return fmt.Sprintf("projects/%s/%s/%s/disks/%s", h.project, h.scope, h.place, h.disk)
}

// SetVolumeID implements snapshot.Snapshotter. A handle gets the project that disks
// are made in, and the zone or region of this one, which may be another than before.
func (s *Snapshotter) SetVolumeID(pv *corev1.PersistentVolume, id string) error {
	switch {
	case pv.Spec.GCEPersistentDisk != nil:
		pv.Spec.GCEPersistentDisk.PDName = id
		return nil
	case pv.Spec.CSI == nil || !slices.Contains(drivers, pv.Spec.CSI.Driver):
		return s.config.Errorf("volume %q is not on a disk of Compute Engine", pv.Name)
	}
	handle, err := parseHandle(pv.Spec.CSI.VolumeHandle)
	if err != nil {
		return s.config.Errorf("volume %q of driver %q: %w", pv.Name, pv.Spec.CSI.Driver, err)
	}
	handle.disk = id
	// CreateVolume, which made the disk, has found out the project.
	if project := s.knownVolumeProject(); project != "" {
		handle.project = project
	}
	if at, ok := s.placeOf(id); ok {
		handle.scope, handle.place = at.scope()
	}
	pv.Spec.CSI.VolumeHandle = handle.String()
	return nil
}

// placeOf is where a disk is that CreateVolume has made.
func (s *Snapshotter) placeOf(disk string) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.made[disk]
	return at, ok
}

// inVolumeProject is what two methods need to begin with: the project of the disks
// and the place that a zone stands for.
func (s *Snapshotter) inVolumeProject(ctx context.Context, zone string) (string, place, error) {
	p, err := parsePlace(zone)
	if err != nil {
		return "", place{}, s.config.Errorf("%w", err)
	}
	project, err := s.volumeProject(ctx)
	return project, p, err
}

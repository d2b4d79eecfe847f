package gcetest

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/api/compute/v1"
)

// diskTypes are the kinds of disks, and whether IOPS can be chosen.
var diskTypes = map[string]bool{
	"pd-standard": false, "pd-balanced": false, "pd-ssd": false, "pd-extreme": true,
	"hyperdisk-balanced": true, "hyperdisk-throughput": true, "hyperdisk-balanced-high-availability": true,
}

type disk struct {
	compute.Disk
	content string
	left    int
}

// AddDisk adds a disk of a project in a zone, or in two joined by "__", that is ready.
// What isn't set is: the type is pd-balanced, with 10 GB. A zone that isn't there is
// added.
func (s *Server) AddDisk(project, zone string, d compute.Disk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	zones := strings.Split(zone, "__")
	for _, z := range zones {
		if !slices.Contains(s.zones, z) {
			s.zones = append(s.zones, z)
		}
	}
	scope := "zones/" + zone
	if len(zones) > 1 {
		scope = "regions/" + zones[0][:strings.LastIndex(zones[0], "-")]
		for _, z := range zones {
			d.ReplicaZones = append(d.ReplicaZones, fmt.Sprintf("%s%sprojects/%s/zones/%s", s.URL, root, project, z))
		}
	}
	if d.Type == "" {
		d.Type = "pd-balanced"
	}
	if !strings.Contains(d.Type, "/") {
		d.Type = fmt.Sprintf("%s%sprojects/%s/%s/diskTypes/%s", s.URL, root, project, scope, d.Type)
	}
	if d.SizeGb == 0 {
		d.SizeGb = 10
	}
	path := fmt.Sprintf("projects/%s/%s/disks/%s", project, scope, d.Name)
	d.Kind, d.Id, d.SelfLink, d.Status = "compute#disk", s.newID(), s.URL+root+path, "READY"
	s.disks[path] = &disk{Disk: d}
}

// Disks are all that there are, by name.
func (s *Server) Disks() []compute.Disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []compute.Disk
	for _, d := range s.disks {
		all = append(all, d.Disk)
	}
	slices.SortFunc(all, func(a, b compute.Disk) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Disk is one of any project and place.
func (s *Server) Disk(name string) (compute.Disk, bool) {
	for _, d := range s.Disks() {
		if d.Name == name {
			return d, true
		}
	}
	return compute.Disk{}, false
}

// Write replaces the content of a disk of any project.
func (s *Server) Write(name, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.disks {
		if d.Name == name {
			d.content = content
		}
	}
}

// Read is the content of a disk of any project: that of the snapshot it was made from,
// which is that of its disk when the snapshot was cut.
func (s *Server) Read(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.disks {
		if d.Name == name {
			return d.content
		}
	}
	return ""
}

func (s *Server) getDisk(r *request) (any, *refusal) {
	d := s.disks[r.path]
	if d == nil {
		return nil, notFound(r.path)
	}
	d.step()
	return d.Disk, nil
}

// step is what one look brings about. The lock is held.
func (d *disk) step() {
	if d.Status == "RESTORING" && tick(&d.left) {
		d.Status = "READY"
	}
}

func (s *Server) insertDisk(r *request) (any, *refusal) {
	d := &disk{left: s.slow.Disk}
	if refused := decode(r, &d.Disk); refused != nil {
		return nil, refused
	}
	path := r.in("disks", d.Name)
	if refused := checkMetadata(d.Name, d.Description, d.Labels); refused != nil {
		return nil, refused
	}
	if s.disks[path] != nil {
		return nil, exists(path)
	}
	source := s.snapshots[strings.TrimPrefix(d.SourceSnapshot, s.URL+root)]
	if source == nil {
		return nil, notFound(d.SourceSnapshot)
	}
	if source.Status != "READY" {
		return nil, notReady(strings.TrimPrefix(source.SelfLink, s.URL+root))
	}
	if refused := s.checkDisk(r, &d.Disk); refused != nil {
		return nil, refused
	}
	d.Kind, d.Id, d.SelfLink, d.Status = "compute#disk", s.newID(), s.URL+root+path, "RESTORING"
	d.SizeGb, d.content, d.SourceSnapshot = source.DiskSizeGb, source.content, source.SelfLink
	if d.DiskEncryptionKey != nil {
		d.DiskEncryptionKey.KmsKeyName += "/cryptoKeyVersions/1"
	}
	s.disks[path] = d
	return s.operationFor(r, "insert", path, func() bool {
		d.step()
		return d.Status == "READY"
	}).begun(), nil
}

// checkDisk checks what a new disk is to be like. The lock is held.
func (s *Server) checkDisk(r *request, d *compute.Disk) *refusal {
	if d.Type == "" {
		d.Type = r.in("diskTypes", "pd-standard")
	}
	name := d.Type[strings.LastIndex(d.Type, "/")+1:]
	choosesIOPS, known := diskTypes[name]
	switch {
	case d.Type != r.in("diskTypes", name):
		return invalid("Invalid value for field 'resource.type': '%s'. Disk type must be in the same zone or region as the disk.", d.Type)
	case !known:
		return notFound(d.Type)
	case (d.ProvisionedIops > 0 || d.ProvisionedThroughput > 0) && !choosesIOPS:
		return invalid("Invalid value for field 'resource.provisionedIops': '%d'. Provisioned IOPS can't be specified for the disk type %s.", d.ProvisionedIops, name)
	case d.DiskEncryptionKey != nil && strings.Contains(d.DiskEncryptionKey.KmsKeyName, "/cryptoKeyVersions/"):
		return invalid("Invalid value for field 'resource.diskEncryptionKey.kmsKeyName': '%s'.", d.DiskEncryptionKey.KmsKeyName)
	case strings.HasPrefix(r.scope, "regions/") && len(d.ReplicaZones) != 2:
		return invalid("Invalid value for field 'resource.replicaZones': exactly two replica zones must be specified.")
	case strings.HasPrefix(r.scope, "zones/") && len(d.ReplicaZones) != 0:
		return invalid("Invalid value for field 'resource.replicaZones': a zonal disk has none.")
	}
	for _, z := range d.ReplicaZones {
		if !slices.Contains(s.zones, z[strings.LastIndex(z, "/")+1:]) {
			return notFound(z)
		}
	}
	return nil
}

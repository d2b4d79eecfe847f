package ec2test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Disk is an EBS volume.
type Disk struct {
	// ID is made up when it is empty.
	ID string
	// Zone is eu-central-1a by default, Type gp3, State available.
	Zone, Type, State string
	// GiB is the size, 1 by default.
	GiB int
	// IOPS and Throughput (MiB/s) are 3000 and 125 by default where the type is gp3.
	IOPS, Throughput int
	Encrypted        bool
	KMSKeyID         string
	MultiAttach      bool
	Tags             map[string]string
	// SnapshotID is what it was made from.
	SnapshotID string
	// Content stands for what is written on it; snapshots copy it, and disks that
	// are made from them have it.
	Content string
}

type diskRecord struct {
	Disk
	created time.Time
	// request is what asked for it, token included.
	request url.Values
	// steps is how often it is "creating" yet.
	steps int
}

// AddDisk puts a disk into the account and returns its id.
func (s *Server) AddDisk(d Disk) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.ID == "" {
		d.ID = newID("vol-")
	}
	if d.Zone == "" {
		d.Zone = s.zones[0]
	}
	if d.Type == "" {
		d.Type = "gp3"
	}
	if d.State == "" {
		d.State = "available"
	}
	d.GiB = max(d.GiB, 1)
	d.Tags = maps.Clone(d.Tags)
	setSpeed(&d)
	s.disks = append(s.disks, &diskRecord{Disk: d, created: time.Now()})
	return d.ID
}

// setSpeed gives a gp3 disk its base speed.
func setSpeed(d *Disk) {
	const baseIOPS, baseThroughput = 3000, 125
	if d.Type == "gp3" && d.IOPS == 0 {
		d.IOPS = baseIOPS
	}
	if d.Type == "gp3" && d.Throughput == 0 {
		d.Throughput = baseThroughput
	}
}

// Disks returns all that there are, the oldest first.
func (s *Server) Disks() []Disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	disks := make([]Disk, len(s.disks))
	for i, d := range s.disks {
		disks[i] = d.Disk
		disks[i].Tags = maps.Clone(d.Tags)
	}
	return disks
}

// DeleteDisk removes a disk, as somebody else would.
func (s *Server) DeleteDisk(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disks = slices.DeleteFunc(s.disks, func(d *diskRecord) bool { return d.ID == id })
}

// Write replaces what is on a disk.
func (s *Server) Write(id, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.disk(id); d != nil {
		d.Content = content
	}
}

// SetDiskState says what becomes of a disk: "error", "available" and others.
func (s *Server) SetDiskState(id, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.disk(id); d != nil {
		d.State, d.steps = state, 0
	}
}

func (s *Server) disk(id string) *diskRecord {
	for _, d := range s.disks {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// diskTypes are the kinds of disks, and whether IOPS must, may or must not be said.
var diskTypes = map[string]string{
	"gp2": "no", "gp3": "may", "io1": "must", "io2": "must", "st1": "no", "sc1": "no", "standard": "no",
}

func (s *Server) createVolume(v url.Values) (answer, error) {
	if token := v.Get("ClientToken"); token != "" {
		for _, d := range s.disks {
			if d.request.Get("ClientToken") != token {
				continue
			}
			if !sameRequest(d.request, v) {
				return nil, refuse("IdempotentParameterMismatch", "The client token you have provided is associated with a resource whose parameters differ.")
			}
			return &volumeAnswer{volumeItem: d.item()}, nil
		}
	}
	source := s.snapshot(v.Get("SnapshotId"))
	if source == nil {
		return nil, refuse("InvalidSnapshot.NotFound", fmt.Sprintf("The snapshot '%s' does not exist.", v.Get("SnapshotId")))
	}
	if source.State != "completed" {
		return nil, refuse("IncorrectState", fmt.Sprintf("Snapshot '%s' is not 'completed'.", source.ID))
	}
	d, err := s.newDisk(v, source)
	if err != nil {
		return nil, err
	}
	s.disks = append(s.disks, d)
	return &volumeAnswer{volumeItem: d.item()}, nil
}

// newDisk checks what a disk is to be like.
func (s *Server) newDisk(v url.Values, source *snapshotRecord) (*diskRecord, error) {
	d := &diskRecord{created: time.Now(), request: v, steps: s.slow}
	d.Disk = Disk{
		ID: newID("vol-"), Zone: v.Get("AvailabilityZone"), Type: v.Get("VolumeType"), State: "creating", GiB: source.GiB,
		SnapshotID: source.ID, Content: source.Content, Encrypted: source.Encrypted, KMSKeyID: source.KMSKeyID,
		MultiAttach: v.Get("MultiAttachEnabled") == "true",
	}
	if d.Type == "" {
		d.Type = "gp2"
	}
	var err error
	if d.Tags, err = tagsOf(v, "volume"); err != nil {
		return nil, err
	}
	if err := s.checkZone(d.Zone); err != nil {
		return nil, err
	}
	if err := setEncryption(&d.Disk, v); err != nil {
		return nil, err
	}
	return d, provision(&d.Disk, v)
}

func (s *Server) checkZone(zone string) error {
	switch {
	case zone == "":
		return refuse("MissingParameter", "The request must contain the parameter zone")
	case slices.Contains(s.zones, zone):
		return nil
	case strings.HasPrefix(zone, Region):
		return refuse("InvalidZone.NotFound", fmt.Sprintf("The zone '%s' does not exist.", zone))
	}
	return refuse("InvalidParameterValue", fmt.Sprintf("Invalid availability zone: [%s]", zone))
}

func setEncryption(d *Disk, v url.Values) error {
	key := v.Get("KmsKeyId")
	switch {
	case v.Get("Encrypted") == "false" && d.Encrypted:
		return refuse("InvalidParameterDependency", "The parameter Encrypted must be true for an encrypted snapshot.")
	case key != "" && v.Get("Encrypted") != "true":
		return refuse("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	case key != "":
		d.Encrypted, d.KMSKeyID = true, key
	case v.Get("Encrypted") == "true" && !d.Encrypted:
		d.Encrypted, d.KMSKeyID = true, DefaultKey
	}
	return nil
}

// DefaultKey is what is encrypted with when nothing else is said.
const DefaultKey = "arn:aws:kms:" + Region + ":" + Account + ":key/00000000-0000-0000-0000-000000000000"

// provision sets the speed.
func provision(d *Disk, v url.Values) error {
	iops, throughput := v.Get("Iops"), v.Get("Throughput")
	switch rule, known := diskTypes[d.Type]; {
	case !known:
		return refuse("UnknownVolumeType", fmt.Sprintf("Unsupported volume type '%s' for volume creation.", d.Type))
	case iops != "" && rule == "no":
		return refuse("InvalidParameterCombination", fmt.Sprintf("The parameter iops is not supported for %s volumes.", d.Type))
	case iops == "" && rule == "must":
		return refuse("MissingParameter", fmt.Sprintf("The parameter iops must be specified for %s volumes.", d.Type))
	case throughput != "" && d.Type != "gp3":
		return refuse("InvalidParameterCombination", fmt.Sprintf("The parameter throughput is not supported for %s volumes.", d.Type))
	case d.MultiAttach && rule != "must":
		return refuse("InvalidParameterCombination", fmt.Sprintf("The parameter MultiAttachEnabled is not supported for %s volumes.", d.Type))
	}
	d.IOPS, _ = strconv.Atoi(iops)
	d.Throughput, _ = strconv.Atoi(throughput)
	setSpeed(d)
	return nil
}

func (s *Server) describeVolumes(v url.Values) (answer, error) {
	ids := list(v, "VolumeId")
	if len(ids) > 0 && v.Has("MaxResults") {
		return nil, refuse("InvalidParameterCombination", "The parameter volumesSet cannot be used with the parameter maxResults")
	}
	for _, id := range ids {
		if !strings.HasPrefix(id, "vol-") {
			return nil, refuse("InvalidParameterValue", fmt.Sprintf("Value (%s) for parameter volumeId is invalid. Expected: 'vol-...'.", id))
		}
		if s.disk(id) == nil {
			return nil, refuse("InvalidVolume.NotFound", fmt.Sprintf("The volume '%s' does not exist.", id))
		}
	}
	var found []volumeItem
	for _, d := range s.disks {
		if len(ids) > 0 && !slices.Contains(ids, d.ID) {
			continue
		}
		if err := matches(v, d.Tags, map[string]string{"volume-id": d.ID, "status": d.State, "availability-zone": d.Zone}); err != nil {
			if err == errNoMatch {
				continue
			}
			return nil, err
		}
		d.move()
		found = append(found, d.item())
	}
	from, to, next, err := s.page(v, len(found))
	if err != nil {
		return nil, err
	}
	return &volumesAnswer{Volumes: found[from:to], NextToken: next}, nil
}

// move brings a disk on its way.
func (d *diskRecord) move() {
	switch {
	case d.State != "creating":
	case d.steps > 0:
		d.steps--
	default:
		d.State = "available"
	}
}

package ec2test

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Snapshot is one of an EBS volume.
type Snapshot struct {
	ID string
	// DiskID is that of the disk that it was cut of.
	DiskID string
	// State is pending, completed, error, recoverable or recovering; Message is the
	// reason of an error.
	State, Message string
	// Progress is a percentage, such as "42%".
	Progress    string
	Description string
	// Tier is standard or archive; standard when it is empty.
	Tier      string
	GiB       int
	Started   time.Time
	Encrypted bool
	KMSKeyID  string
	Tags      map[string]string
	// Content is what the disk had when the snapshot was cut.
	Content string
}

type snapshotRecord struct {
	Snapshot
	// steps is how often it is "pending" yet, of all.
	steps, all int
	// hidden is how often it isn't found yet.
	hidden int
	// user is an image that uses it.
	user string
}

// AddSnapshot puts a snapshot into the account, as somebody else would, and returns
// its id. It is completed unless s says something else.
func (s *Server) AddSnapshot(sn Snapshot) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sn.ID == "" {
		sn.ID = newID("snap-")
	}
	if sn.State == "" {
		sn.State, sn.Progress = "completed", "100%"
	}
	sn.Tier = cmp.Or(sn.Tier, "standard")
	sn.GiB = max(sn.GiB, 1)
	sn.Started = time.Now()
	sn.Tags = maps.Clone(sn.Tags)
	s.snapshots = append(s.snapshots, &snapshotRecord{Snapshot: sn})
	return sn.ID
}

// Snapshots returns all that there are, the oldest first, hidden ones too.
func (s *Server) Snapshots() []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshots := make([]Snapshot, len(s.snapshots))
	for i, sn := range s.snapshots {
		snapshots[i] = sn.Snapshot
		snapshots[i].Tags = maps.Clone(sn.Tags)
	}
	return snapshots
}

// SetSnapshotState says what becomes of a snapshot: "completed", or "error" for this
// reason, and others.
func (s *Server) SetSnapshotState(id, state, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sn := s.snapshot(id); sn != nil {
		sn.State, sn.Message, sn.steps = state, message, 0
	}
}

// UseSnapshot has an image need a snapshot, which can't be deleted any more; "" ends
// that.
func (s *Server) UseSnapshot(id, image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sn := s.snapshot(id); sn != nil {
		sn.user = image
	}
}

// DeleteSnapshot removes a snapshot, as somebody else would.
func (s *Server) DeleteSnapshot(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropSnapshot(id)
}

func (s *Server) dropSnapshot(id string) {
	s.snapshots = slices.DeleteFunc(s.snapshots, func(sn *snapshotRecord) bool { return sn.ID == id })
}

func (s *Server) snapshot(id string) *snapshotRecord {
	for _, sn := range s.snapshots {
		if sn.ID == id {
			return sn
		}
	}
	return nil
}

func (s *Server) createSnapshot(v url.Values) (answer, error) {
	id := v.Get("VolumeId")
	d := s.disk(id)
	switch {
	case id == "":
		return nil, refuse("MissingParameter", "The request must contain the parameter volumeId")
	case d == nil:
		return nil, refuse("InvalidVolume.NotFound", fmt.Sprintf("The volume '%s' does not exist.", id))
	case d.State != "available" && d.State != "in-use":
		return nil, refuse("IncorrectState", fmt.Sprintf("Volume %s is in the '%s' state.", id, d.State))
	}
	tags, err := tagsOf(v, "snapshot")
	if err != nil {
		return nil, err
	}
	sn := &snapshotRecord{steps: s.slow, all: s.slow + 1, hidden: s.hidden}
	sn.Snapshot = Snapshot{
		ID: newID("snap-"), DiskID: id, State: "pending", Tier: "standard", Description: v.Get("Description"), GiB: d.GiB, Started: time.Now(),
		Encrypted: d.Encrypted, KMSKeyID: d.KMSKeyID, Tags: tags, Content: d.Content,
	}
	s.snapshots = append(s.snapshots, sn)
	return &snapshotAnswer{snapshotItem: sn.item()}, nil
}

func (s *Server) describeSnapshots(v url.Values) (answer, error) {
	ids := list(v, "SnapshotId")
	if len(ids) > 0 && v.Has("MaxResults") {
		return nil, refuse("InvalidParameterCombination", "The parameter snapshotSet cannot be used with the parameter maxResults")
	}
	for _, owner := range list(v, "Owner") {
		if owner != "self" && owner != Account {
			return &snapshotsAnswer{}, nil
		}
	}
	if err := s.checkSnapshots(ids); err != nil {
		return nil, err
	}
	var found []snapshotItem
	for _, sn := range s.snapshots {
		if len(ids) > 0 && !slices.Contains(ids, sn.ID) || len(ids) == 0 && sn.hide() {
			continue
		}
		if err := matches(v, sn.Tags, map[string]string{"snapshot-id": sn.ID, "volume-id": sn.DiskID, "status": sn.State}); err != nil {
			if err == errNoMatch {
				continue
			}
			return nil, err
		}
		sn.move()
		found = append(found, sn.item())
	}
	from, to, next, err := s.page(v, len(found))
	if err != nil {
		return nil, err
	}
	return &snapshotsAnswer{Snapshots: found[from:to], NextToken: next}, nil
}

// checkSnapshots finds the snapshots that are asked for by id.
func (s *Server) checkSnapshots(ids []string) error {
	for _, id := range ids {
		if !strings.HasPrefix(id, "snap-") {
			return refuse("InvalidSnapshotID.Malformed", fmt.Sprintf("The snapshot ID '%s' is not valid. The expected format is snap-xxxxxxxx or snap-xxxxxxxxxxxxxxxxx.", id))
		}
		if sn := s.snapshot(id); sn == nil || sn.hide() {
			return refuse("InvalidSnapshot.NotFound", fmt.Sprintf("The snapshot '%s' does not exist.", id))
		}
	}
	return nil
}

// hide says whether a snapshot can't be seen yet.
func (sn *snapshotRecord) hide() bool {
	if sn.hidden == 0 {
		return false
	}
	sn.hidden--
	return true
}

// move brings a snapshot on its way.
func (sn *snapshotRecord) move() {
	const percent = 100
	switch {
	case sn.State != "pending":
	case sn.steps > 0:
		sn.Progress = fmt.Sprintf("%d%%", percent*(sn.all-sn.steps)/sn.all)
		sn.steps--
	default:
		sn.State, sn.Progress = "completed", "100%"
	}
}

func (s *Server) deleteSnapshot(v url.Values) (answer, error) {
	id := v.Get("SnapshotId")
	if !strings.HasPrefix(id, "snap-") {
		return nil, refuse("InvalidSnapshotID.Malformed", fmt.Sprintf("The snapshot ID '%s' is not valid. The expected format is snap-xxxxxxxx or snap-xxxxxxxxxxxxxxxxx.", id))
	}
	sn := s.snapshot(id)
	switch {
	case sn == nil:
		return nil, refuse("InvalidSnapshot.NotFound", fmt.Sprintf("The snapshot '%s' does not exist.", id))
	case sn.user != "":
		return nil, refuse("InvalidSnapshot.InUse", fmt.Sprintf("The snapshot %s is currently in use by %s", id, sn.user))
	}
	s.dropSnapshot(id)
	return &returnAnswer{Return: true}, nil
}

package gcetest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"
)

const (
	maxDescription  = 2048
	defaultPageSize = 500
)

var (
	resourceName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	nameFilter   = regexp.MustCompile(`^name eq "(.*)"$`)
	labelKey     = regexp.MustCompile(`^[a-z][-_a-z0-9]{0,62}$`)
)

// cut is a snapshot.
type cut struct {
	compute.Snapshot
	content string
	source  *disk
	left    Slow
}

// Snapshots are all that there are, by name, those that are being deleted included.
func (s *Server) Snapshots() []compute.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []compute.Snapshot
	for _, c := range s.sorted("") {
		all = append(all, c.Snapshot)
	}
	return all
}

// Snapshot is one of any project.
func (s *Server) Snapshot(name string) (compute.Snapshot, bool) {
	for _, found := range s.Snapshots() {
		if found.Name == name {
			return found, true
		}
	}
	return compute.Snapshot{}, false
}

// EditSnapshot changes one of any project; it has no effect if there is none.
func (s *Server) EditSnapshot(name string, edit func(*compute.Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sorted("") {
		if c.Name == name {
			edit(&c.Snapshot)
		}
	}
}

// AddSnapshot adds a snapshot that is ready, as if somebody else had made it.
func (s *Server) AddSnapshot(project string, snapshot compute.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := "projects/" + project + "/global/snapshots/" + snapshot.Name
	snapshot.Status, snapshot.SelfLink, snapshot.Id = "READY", s.URL+root+path, s.newID()
	s.snapshots[path] = &cut{Snapshot: snapshot}
}

// sorted are the snapshots of a project, or all, by name. The lock is held.
func (s *Server) sorted(project string) []*cut {
	var all []*cut
	for path, c := range s.snapshots {
		if project == "" || strings.HasPrefix(path, "projects/"+project+"/") {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b *cut) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// step is what one look brings about. The lock is held.
func (s *Server) step(path string) {
	c := s.snapshots[path]
	if c == nil {
		return
	}
	switch c.Status {
	case "CREATING":
		if tick(&c.left.Creating) {
			c.Status = "UPLOADING"
			if c.source != nil {
				c.content = c.source.content // this moment counts
			}
		}
	case "UPLOADING":
		if tick(&c.left.Uploading) {
			c.Status = "READY"
		}
	case "DELETING":
		if tick(&c.left.Deleting) {
			delete(s.snapshots, path)
		}
	}
}

// tick counts one look and says whether it was the last.
func tick(left *int) bool {
	if *left > 0 {
		*left--
		return false
	}
	return *left == 0
}

func (s *Server) getSnapshot(r *request) (any, *refusal) {
	s.step(r.path)
	c := s.snapshots[r.path]
	if c == nil {
		return nil, notFound(r.path)
	}
	return c.Snapshot, nil
}

func (s *Server) listSnapshots(r *request) (any, *refusal) {
	query := r.http.URL.Query()
	pattern := ".*"
	if filter := query.Get("filter"); filter != "" {
		parts := nameFilter.FindStringSubmatch(filter)
		if parts == nil {
			return nil, invalid("Invalid value for field 'filter': '%s'. Invalid list filter expression.", filter)
		}
		pattern = parts[1]
	}
	names, err := regexp.Compile("^(" + pattern + ")$")
	if err != nil {
		return nil, invalid("Invalid value for field 'filter': %v", err)
	}
	list := &compute.SnapshotList{Kind: "compute#snapshotList", Id: r.path}
	var all []*compute.Snapshot
	for _, c := range s.sorted(r.project) {
		if names.MatchString(c.Name) {
			all = append(all, &c.Snapshot)
		}
	}
	start, _ := strconv.Atoi(query.Get("pageToken")) // none is 0
	end := min(len(all), start+s.pageSizeFor(query.Get("maxResults")))
	list.Items = all[min(start, end):end]
	if end < len(all) {
		list.NextPageToken = strconv.Itoa(end)
	}
	return list, nil
}

func (s *Server) pageSizeFor(maxResults string) int {
	n, err := strconv.Atoi(maxResults)
	if err != nil || n <= 0 || n > defaultPageSize {
		n = defaultPageSize
	}
	if s.pageSize > 0 {
		n = min(n, s.pageSize)
	}
	return n
}

func (s *Server) insertSnapshot(r *request) (any, *refusal) {
	c := &cut{left: s.slow}
	if refused := decode(r, &c.Snapshot); refused != nil {
		return nil, refused
	}
	path := r.in("snapshots", c.Name)
	if refused := checkMetadata(c.Name, c.Description, c.Labels); refused != nil {
		return nil, refused
	}
	if s.snapshots[path] != nil {
		return nil, exists(path)
	}
	source := strings.TrimPrefix(c.SourceDisk, s.URL+root)
	if c.source = s.disks[source]; c.source == nil {
		return nil, notFound(source)
	}
	if refused := checkSnapshot(c); refused != nil {
		return nil, refused
	}
	if s.quota > 0 && len(s.snapshots) >= s.quota {
		return s.overQuota(r, path), nil
	}
	s.finish(c, path)
	s.snapshots[path] = c
	return s.operationFor(r, "createSnapshot", source, func() bool {
		s.step(path)
		return c.Status == "READY"
	}).begun(), nil
}

// overQuota agrees to what fails later, as the API does.
func (s *Server) overQuota(r *request, path string) compute.Operation {
	p := s.operationFor(r, "createSnapshot", path, func() bool { return true })
	p.op.Error = operationError("QUOTA_EXCEEDED", "Quota 'SNAPSHOTS' exceeded.  Limit: "+strconv.Itoa(s.quota)+".0 globally.")
	p.op.HttpErrorStatusCode, p.op.HttpErrorMessage = 403, "FORBIDDEN"
	return p.begun()
}

// finish sets what the API knows of a new snapshot.
func (s *Server) finish(c *cut, path string) {
	c.Kind, c.Id, c.SelfLink, c.Status = "compute#snapshot", s.newID(), s.URL+root+path, "CREATING"
	c.SourceDisk, c.SourceDiskId = c.source.SelfLink, strconv.FormatUint(c.source.Id, 10)
	c.DiskSizeGb = c.source.SizeGb
	c.SnapshotEncryptionKey = c.source.DiskEncryptionKey
	c.EnableConfidentialCompute = c.source.EnableConfidentialCompute
	if c.SnapshotType == "" {
		c.SnapshotType = "STANDARD"
	}
	if len(c.StorageLocations) == 0 {
		c.StorageLocations = []string{"eu"}
	}
}

func checkSnapshot(c *cut) *refusal {
	switch {
	case c.SnapshotType != "" && c.SnapshotType != "STANDARD" && c.SnapshotType != "ARCHIVE":
		return invalid("Invalid value for field 'resource.snapshotType': '%s'.", c.SnapshotType)
	case len(c.StorageLocations) > 1:
		return invalid("Invalid value for field 'resource.storageLocations': too many.")
	case c.source.DiskEncryptionKey != nil && c.source.DiskEncryptionKey.KmsKeyName == "" && c.SourceDiskEncryptionKey == nil:
		return invalid("The disk '%s' is protected with a customer supplied encryption key, but none was provided.", c.SourceDisk)
	}
	return nil
}

// checkMetadata checks what disks and snapshots have in common.
func checkMetadata(name, description string, labels map[string]string) *refusal {
	if !resourceName.MatchString(name) {
		return invalid("Invalid value for field 'resource.name': '%s'. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'", name)
	}
	if len(description) > maxDescription {
		return invalid("Invalid value for field 'resource.description': must be at most %d characters.", maxDescription)
	}
	for key := range labels {
		if !labelKey.MatchString(key) {
			text, _ := json.Marshal(labels) // strings can always be written
			return invalid("Invalid value for field 'resource.labels': '%s'.", text)
		}
	}
	return nil
}

func (s *Server) deleteSnapshot(r *request) (any, *refusal) {
	c := s.snapshots[r.path]
	if c == nil {
		return nil, notFound(r.path)
	}
	if c.Status == "CREATING" || c.Status == "DELETING" {
		s.step(r.path)
		return nil, notReady(r.path)
	}
	for path, d := range s.disks {
		if d.Status == "RESTORING" && d.SourceSnapshot == c.SelfLink {
			return nil, inUse(r.path, path)
		}
	}
	c.Status, c.left = "DELETING", s.slow
	return s.operationFor(r, "delete", r.path, func() bool {
		s.step(r.path)
		return s.snapshots[r.path] == nil
	}).begun(), nil
}

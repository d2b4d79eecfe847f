package armtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (s *Server) of(kind string) map[string]*Resource {
	if kind == kindDisks {
		return s.disks
	}
	return s.snapshots
}

// list answers one page.
func (s *Server) list(r *request) {
	prefix := strings.ToLower(r.id())
	var found []*Resource
	for _, key := range slices.Sorted(maps.Keys(s.of(r.kind))) {
		if strings.HasPrefix(key, prefix) {
			found = append(found, s.of(r.kind)[key])
		}
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("$skipToken"))
	from = min(from, len(found))
	to := min(from+s.pageSize, len(found))
	body := map[string]any{"value": append([]*Resource{}, found[from:to]...)}
	if to < len(found) {
		body["nextLink"] = fmt.Sprintf("%s%s?api-version=%s&$skipToken=%d", s.URL, r.URL.Path, r.URL.Query().Get("api-version"), to)
	}
	answer(r.w, http.StatusOK, body)
}

func (s *Server) get(r *request) {
	found := s.of(r.kind)[strings.ToLower(r.id())]
	if found == nil {
		s.missing(r.w, r.id())
		return
	}
	s.lookAt(found)
	s.copyOn(found)
	answer(r.w, http.StatusOK, found)
}

// copyOn lets the copy in the background go on.
func (s *Server) copyOn(found *Resource) {
	p := &found.Properties
	if p.CompletionPercent == nil || *p.CompletionPercent >= 100 || s.copying < 0 {
		return
	}
	percent := 100.0
	if s.copying > 0 {
		percent = min(100, *p.CompletionPercent+100/float64(s.copying))
	}
	p.CompletionPercent = &percent
	if percent >= 100 {
		p.SnapshotAccessState = "Available"
	}
}

func (s *Server) missing(w http.ResponseWriter, id string) {
	parts := strings.Split(id, "/")
	refuse(w, http.StatusNotFound, "ResourceNotFound", fmt.Sprintf("The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", strings.Join(parts[6:], "/"), parts[4]))
}

// remove deletes; what isn't there is gone already.
func (s *Server) remove(r *request) {
	key := strings.ToLower(r.id())
	found := s.of(r.kind)[key]
	switch {
	case found == nil:
		r.w.WriteHeader(http.StatusNoContent)
		return
	case found.ManagedBy != "":
		refuse(r.w, http.StatusConflict, "OperationNotAllowed", fmt.Sprintf("Disk %s is attached to VM %s.", found.Name, found.ManagedBy))
		return
	}
	state := found.Properties.ProvisioningState
	found.Properties.ProvisioningState = "Deleting"
	s.begin(r.w, r.subscription, &operation{
		on:      found,
		failure: r.fault,
		end:     func() { delete(s.of(r.kind), key) },
		broken:  func() { found.Properties.ProvisioningState = state },
	}, nil)
}

// put makes a disk or a snapshot, or finds that it is there.
func (s *Server) put(r *request) {
	wanted := &Resource{}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(wanted); err != nil {
		refuse(r.w, http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '"+err.Error()+"'.")
		return
	}
	key := strings.ToLower(r.id())
	if there := s.of(r.kind)[key]; there != nil {
		if there.Properties.CreationData.SourceResourceID != wanted.source() {
			refuse(r.w, http.StatusConflict, "PropertyChangeNotAllowed", "Changing property 'sourceResourceId' is not allowed for existing disk '"+r.name+"'.")
			return
		}
		there.Tags = wanted.Tags
		answer(r.w, http.StatusOK, there)
		return
	}
	source, problem := s.check(r, wanted)
	if problem != nil {
		refuse(r.w, problem.Status, problem.Code, problem.Message)
		return
	}
	s.complete(r, wanted, source)
	s.of(r.kind)[key] = wanted
	s.begin(r.w, r.subscription, &operation{
		on:      wanted,
		failure: r.fault,
		end:     func() { wanted.Properties.ProvisioningState = "Succeeded" },
		broken:  func() { wanted.Properties.ProvisioningState = "Failed" },
	}, map[string]any{"name": wanted.Name, "location": wanted.Location, "properties": map[string]any{"provisioningState": "Updating", "isArmResource": true}})
}

func (r *Resource) source() string {
	if r.Properties.CreationData == nil {
		return ""
	}
	return r.Properties.CreationData.SourceResourceID
}

// complete fills in what Azure knows itself.
func (s *Server) complete(r *request, made, source *Resource) {
	s.serial++
	made.ID, made.Name, made.Type = r.id(), r.name, "Microsoft.Compute/"+r.kind
	made.Content = source.Content
	p := &made.Properties
	p.ProvisioningState = "Creating"
	p.TimeCreated = time.Now().UTC().Format(time.RFC3339Nano)
	p.UniqueID = fmt.Sprintf("unique-%d", s.serial)
	p.CreationData.SourceUniqueID = source.Properties.UniqueID
	p.DiskSizeGB = source.Properties.DiskSizeGB
	p.DiskState = "Unattached"
	if p.Encryption == nil {
		p.Encryption = &Encryption{Type: "EncryptionAtRestWithPlatformKey"}
	}
	if made.SKU == nil {
		made.SKU = &SKU{Name: "Standard_LRS"}
	}
	if r.kind == kindSnapshots && onlyIncremental(source) {
		p.IncrementalSnapshotFamilyID = source.Properties.UniqueID
		p.CompletionPercent = new(float64)
		p.SnapshotAccessState = "Pending"
		if s.copying == 0 {
			s.copyOn(made)
		}
	}
}

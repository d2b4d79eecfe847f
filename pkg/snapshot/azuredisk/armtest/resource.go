package armtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Resource is a disk or a snapshot, in the form of the API.
type Resource struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name,omitempty"`
	Type       string            `json:"type,omitempty"`
	Location   string            `json:"location,omitempty"`
	Zones      []string          `json:"zones,omitempty"`
	SKU        *SKU              `json:"sku,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	ManagedBy  string            `json:"managedBy,omitempty"`
	Properties Properties        `json:"properties"`
	// Content stands for what is written on it: a snapshot has what was on its disk,
	// and a disk what is in its snapshot.
	Content string `json:"-"`
}

// SKU is the kind of disk.
type SKU struct {
	Name string `json:"name"`
	Tier string `json:"tier,omitempty"`
}

// Properties are those of a disk or a snapshot, as far as they matter here.
type Properties struct {
	CreationData                *CreationData `json:"creationData,omitempty"`
	ProvisioningState           string        `json:"provisioningState,omitempty"`
	DiskState                   string        `json:"diskState,omitempty"`
	UniqueID                    string        `json:"uniqueId,omitempty"`
	TimeCreated                 string        `json:"timeCreated,omitempty"`
	DiskSizeGB                  int           `json:"diskSizeGB,omitempty"`
	Incremental                 *bool         `json:"incremental,omitempty"`
	IncrementalSnapshotFamilyID string        `json:"incrementalSnapshotFamilyId,omitempty"`
	CompletionPercent           *float64      `json:"completionPercent,omitempty"`
	CopyCompletionError         *CopyError    `json:"copyCompletionError,omitempty"`
	SnapshotAccessState         string        `json:"snapshotAccessState,omitempty"`
	Encryption                  *Encryption   `json:"encryption,omitempty"`
	NetworkAccessPolicy         string        `json:"networkAccessPolicy,omitempty"`
	PublicNetworkAccess         string        `json:"publicNetworkAccess,omitempty"`
	DiskAccessID                string        `json:"diskAccessId,omitempty"`
	DiskIOPSReadWrite           int64         `json:"diskIOPSReadWrite,omitempty"`
	DiskMBpsReadWrite           int64         `json:"diskMBpsReadWrite,omitempty"`
	Tier                        string        `json:"tier,omitempty"`
	BurstingEnabled             *bool         `json:"burstingEnabled,omitempty"`
	MaxShares                   int           `json:"maxShares,omitempty"`
}

// CreationData says what a disk or a snapshot was made of.
type CreationData struct {
	CreateOption      string `json:"createOption"`
	SourceResourceID  string `json:"sourceResourceId,omitempty"`
	SourceUniqueID    string `json:"sourceUniqueId,omitempty"`
	LogicalSectorSize int    `json:"logicalSectorSize,omitempty"`
}

// CopyError is why a copy in the background failed.
type CopyError struct {
	ErrorCode    string `json:"errorCode"`
	ErrorMessage string `json:"errorMessage"`
}

// Encryption says with which key.
type Encryption struct {
	Type                string `json:"type"`
	DiskEncryptionSetID string `json:"diskEncryptionSetId,omitempty"`
}

// DiskID is the id of a disk in the cluster's group.
func DiskID(name string) string { return id(Subscription, Group, kindDisks, name) }

const (
	kindDisks     = "disks"
	kindSnapshots = "snapshots"
)

func id(subscription, group, kind, name string) string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/Microsoft.Compute/%s/%s", subscription, group, kind, name)
}

// AddDisk makes a disk in the cluster's group, and returns its id. change may be nil.
func (s *Server) AddDisk(name, sku string, change func(*Resource)) string {
	return s.AddDiskAt(DiskID(name), sku, change)
}

// AddDiskAt makes a disk that has this id.
func (s *Server) AddDiskAt(diskID, sku string, change func(*Resource)) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	disk := &Resource{
		ID:       diskID,
		Name:     diskID[strings.LastIndexByte(diskID, '/')+1:],
		Type:     "Microsoft.Compute/disks",
		Location: Region,
		SKU:      &SKU{Name: sku},
		Properties: Properties{
			CreationData:      &CreationData{CreateOption: "Empty"},
			ProvisioningState: "Succeeded",
			DiskState:         "Unattached",
			DiskSizeGB:        32,
			UniqueID:          fmt.Sprintf("unique-%d", s.serial),
			Encryption:        &Encryption{Type: "EncryptionAtRestWithPlatformKey"},
		},
	}
	if change != nil {
		change(disk)
	}
	s.disks[strings.ToLower(diskID)] = disk
	return diskID
}

// Write replaces what is on a disk.
func (s *Server) Write(diskID, content string) {
	s.set(func() {
		if disk := s.disks[strings.ToLower(diskID)]; disk != nil {
			disk.Content = content
		}
	})
}

// ChangeSnapshot changes a snapshot that there is, and says whether there is one.
func (s *Server) ChangeSnapshot(id string, change func(*Resource)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.snapshots[strings.ToLower(id)]
	if found != nil {
		change(found)
	}
	return found != nil
}

// Disks are all disks, by id.
func (s *Server) Disks() []Resource { return s.all(s.disks) }

// Snapshots are all snapshots, by id.
func (s *Server) Snapshots() []Resource { return s.all(s.snapshots) }

func (s *Server) all(of map[string]*Resource) []Resource {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Resource
	for _, key := range slices.Sorted(maps.Keys(of)) {
		all = append(all, *of[key])
	}
	return all
}

package archive

import (
	"encoding/json"
	"fmt"
	"io"
)

// Index is what reading a part of an archive needs: where its gzip members are
// and what is in them. Every member begins and ends at an entry of the tar, so
// that a range of members is read like an archive of its own.
type Index struct {
	// FormatVersion is that of the archive.
	FormatVersion string `json:"formatVersion"`
	// Size is the length of the archive, compressed, in bytes.
	Size int64 `json:"size"`
	// Members are in the order of their offsets and leave no gaps.
	Members []Member `json:"members"`
}

// Member is one gzip member of an archive.
type Member struct {
	// Resource is the plural name and group, "deployments.apps", of all objects
	// in it; empty for the first member, which holds the version of the format,
	// and for the last, which ends the tar.
	Resource string `json:"resource,omitempty"`
	// Version is the version in which the objects were collected; Preferred says
	// that it is the preferred one of the source cluster.
	Version   string `json:"version,omitempty"`
	Preferred bool   `json:"preferred,omitempty"`
	// Offset and Length are the place of the compressed bytes.
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
	// Plain is the number of uncompressed bytes.
	Plain int64 `json:"plain"`
	// Objects is how many objects it holds, whatever the number of their entries.
	Objects int `json:"objects,omitempty"`
	// First and Last are the least and the greatest name in it, in byte order:
	// "namespace/name", or "name" of a cluster-scoped object.
	First string `json:"first,omitempty"`
	Last  string `json:"last,omitempty"`
}

// Range is a part of an archive that holds whole members.
type Range struct{ Offset, Length int64 }

// maxIndexBytes bounds an index that is decoded: a bucket isn't trusted, and the
// index of a million objects has a tenth of this.
const maxIndexBytes = 64 << 20

// ReadIndex decodes an index and checks that its members fit its archive.
func ReadIndex(r io.Reader) (*Index, error) {
	var ix Index
	if err := json.NewDecoder(io.LimitReader(r, maxIndexBytes)).Decode(&ix); err != nil {
		return nil, fmt.Errorf("decode index: %w", err)
	}
	var next int64
	for i, m := range ix.Members {
		if m.Offset != next || m.Length <= 0 || m.Plain < 0 {
			return nil, fmt.Errorf("index: member %d is at %d with %d bytes, but the one before it ends at %d", i, m.Offset, m.Length, next)
		}
		next += m.Length
	}
	if next != ix.Size {
		return nil, fmt.Errorf("index: members end at %d, the archive at %d", next, ix.Size)
	}
	return &ix, nil
}

// Find returns the members that may hold the object, in the order of the
// archive; namespace is empty for a cluster-scoped one. None means that it isn't
// in the archive.
func (ix *Index) Find(resource, namespace, name string) []Member {
	key := qualified(namespace, name)
	var found []Member
	for _, m := range ix.Members {
		if m.Resource == resource && m.Preferred && m.First <= key && key <= m.Last {
			found = append(found, m)
		}
	}
	return found
}

// Select returns where the members that match are; neighbours are one range.
func (ix *Index) Select(match func(Member) bool) []Range {
	var ranges []Range
	for _, m := range ix.Members {
		if !match(m) {
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].Offset+ranges[n-1].Length == m.Offset {
			ranges[n-1].Length += m.Length
			continue
		}
		ranges = append(ranges, Range{Offset: m.Offset, Length: m.Length})
	}
	return ranges
}

// qualified is the name under which members know an object.
func qualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

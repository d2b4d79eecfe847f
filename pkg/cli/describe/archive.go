package describe

import (
	"cmp"
	"io"
	"slices"
	"strings"
)

// Archive is what the archive of a backup shows by itself, on disk.
type Archive struct {
	// File is its name, Bytes its size.
	File  string
	Bytes int64
	// FormatVersion is what its first entry says; empty when it says nothing.
	FormatVersion string
	Kinds         []ArchiveKind
	// ResourceList has the names of the objects by "apiVersion/Kind"; nil when
	// it isn't wanted.
	ResourceList map[string][]string
}

// ArchiveKind counts the objects of a kind in one version.
type ArchiveKind struct {
	// Resource is the plural name and group, "deployments.apps".
	Resource   string `json:"resource"`
	APIVersion string `json:"apiVersion"`
	Objects    int    `json:"objects"`
	// Bytes is the size of their JSON.
	Bytes int64 `json:"bytes"`
}

// Write describes a as text.
func (a Archive) Write(w io.Writer) error {
	l := newLayout(w)
	l.line("File", a.File)
	l.line("Size", size(a.Bytes))
	l.line("Backup Format Version", orNone(a.FormatVersion))
	l.blank()
	l.head("Kinds")
	in := l.inner()
	in.row("KIND", "API VERSION", "OBJECTS", "SIZE")
	all := ArchiveKind{}
	for _, k := range a.sorted() {
		in.row(k.Resource, k.APIVersion, k.Objects, size(k.Bytes))
		all.Objects += k.Objects
		all.Bytes += k.Bytes
	}
	in.row("all", "", all.Objects, size(all.Bytes))
	if a.ResourceList != nil {
		l.blank()
		l.names(a.ResourceList)
	}
	return l.flush()
}

func (a Archive) sorted() []ArchiveKind {
	return slices.SortedFunc(slices.Values(a.Kinds), func(x, y ArchiveKind) int {
		return cmp.Or(strings.Compare(x.Resource, y.Resource), strings.Compare(x.APIVersion, y.APIVersion))
	})
}

// WriteJSON describes a as one JSON object.
func (a Archive) WriteJSON(w io.Writer) error {
	out := object{
		"file": a.File, "sizeBytes": a.Bytes, "backupFormatVersion": a.FormatVersion,
		"kinds": append([]ArchiveKind{}, a.sorted()...),
	}
	if a.ResourceList != nil {
		out["resourceList"] = a.ResourceList
	}
	return out.write(w)
}

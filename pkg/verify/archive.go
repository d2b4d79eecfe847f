package verify

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// Bounds of an archive that is read.
const (
	// maxObjects bounds what is remembered: some 100 bytes each.
	maxObjects = 4_000_000
	// maxPadding is how many bytes may follow the end of the tar: tar programs pad
	// to blocks of 10 KiB.
	maxPadding = 1 << 20
	blockBytes = 512
)

// readArchive reads the archive of the backup.
func (c *check) readArchive(ctx context.Context) error {
	name := c.name(archiveSuffix)
	c.object = name
	if !c.has(name) {
		if _, told := c.sums[name]; !told {
			c.find(Broken, "", "it is missing")
		}
		return nil
	}
	if c.index == nil {
		c.find(Unchecked, "", "there is no index, as in backups that Velero wrote: where in the archive what is can't be compared")
	}
	if c.listed == nil {
		c.find(Unchecked, "", "there is no resource list: whether objects are missing can't be told")
	}
	return c.readNamed(ctx, name, c.archive)
}

// archive checks the content of an archive.
func (c *check) archive(r io.Reader) {
	t := &tarCheck{check: c, seen: map[key]copies{}, pending: map[key]twin{}, kinds: map[string]string{}, perKind: map[string]int{}}
	t.index = indexCheck{check: c, index: c.index}
	members, err := newMemberReader(r, t.index.ended)
	if err != nil {
		c.find(Broken, "", "%v", err)
		return
	}
	t.members = members
	whole := t.read()
	c.summary.Items = t.objects
	if whole {
		t.compare()
	}
}

// key stands for an object or a path, so that a million of them take little
// memory.
type key [16]byte

// keyOf hashes words; two different objects have the same key never in practice.
func keyOf(words ...string) key {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return key(sum[:16])
}

// copies says at which paths an object was found.
type copies uint8

const (
	atPlain     copies = 1 << iota // resources/R/...
	atPreferred                    // resources/R/V-preferredversion/...
	atOther                        // resources/R/V/...
)

// twin is the first copy of an object, as long as the second has not come.
type twin struct {
	path    string
	sum     [sha256.Size]byte
	version string // of the body's apiVersion
}

// tarCheck is the state of one pass over an archive.
type tarCheck struct {
	*check
	members *memberReader
	index   indexCheck
	version string // content of metadata/version
	seen    map[key]copies
	pending map[key]twin
	kinds   map[string]string // resource to kind
	perKind map[string]int    // objects by resource
	objects int
	// plain and others count the entries without version, and those in versions
	// that aren't the preferred one.
	plain, others int
}

// read goes through the entries and reports whether it came to the end.
func (t *tarCheck) read() bool {
	entries := tar.NewReader(t.members)
	start, last := int64(0), "the beginning"
	for n := 0; ; n++ {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return t.end(start)
		}
		if err != nil {
			t.find(Broken, "", "it can't be read on after %s: %v", last, err)
			return false
		}
		t.index.entry(start)
		body, err := t.body(header, entries)
		if err != nil {
			t.find(Broken, header.Name, "%v; it isn't read on", err)
			return false
		}
		if n == 0 {
			t.first(header, body)
		} else {
			t.entry(header, body)
		}
		if len(t.seen) > maxObjects {
			t.find(Broken, header.Name, "there are more than %d objects; it isn't read on", maxObjects)
			return false
		}
		last = fmt.Sprintf("entry %q", header.Name)
		start = (t.members.plain + blockBytes - 1) / blockBytes * blockBytes
	}
}

func (t *tarCheck) body(header *tar.Header, entries io.Reader) ([]byte, error) {
	if header.Size > archive.MaxObjectBytes {
		return nil, fmt.Errorf("it has %d bytes, more than an object may have (%d)", header.Size, archive.MaxObjectBytes)
	}
	// A header can lie about the size, so memory is taken as bytes come.
	return io.ReadAll(entries)
}

// first looks at the entry that says which version of the format this is.
func (t *tarCheck) first(header *tar.Header, body []byte) {
	if header.Name != archive.VersionPath {
		t.find(Broken, header.Name, "the first entry should be %s", archive.VersionPath)
		t.entry(header, body)
		return
	}
	t.version = strings.TrimSuffix(string(body), "\n")
	if t.version != archive.FormatVersion && t.version != "1" {
		t.find(Broken, header.Name, "format %q is not known; there are %q and \"1\"", t.version, archive.FormatVersion)
	}
	if m := t.marker; m != nil && m.Status.FormatVersion != "" && m.Status.FormatVersion != t.version {
		t.find(Broken, header.Name, "it is %q; the commit marker says %q", t.version, m.Status.FormatVersion)
	}
}

func (t *tarCheck) entry(header *tar.Header, body []byte) {
	switch header.Typeflag {
	case tar.TypeReg:
	case tar.TypeDir:
		t.find(t.deviation(), header.Name, "it is a folder; the format has only files")
		return
	default:
		t.find(Broken, header.Name, "it is of type %q; the format has only files", header.Typeflag)
		return
	}
	item, ok, err := archive.ParsePath(header.Name)
	switch {
	case err != nil:
		t.find(Broken, header.Name, "%v", err)
	case header.Name == archive.VersionPath:
		t.find(Broken, header.Name, "it stands twice")
	case !ok:
		t.find(t.deviation(), header.Name, "the format has no such path; a restore doesn't look at it")
	default:
		item.Body = body
		t.item(header.Name, item)
	}
}

// end looks at what follows the last entry, which ended at start.
func (t *tarCheck) end(start int64) bool {
	const marks = 2 * blockBytes
	if t.members.plain-start < marks {
		t.find(Broken, "", "the end of the tar is missing: it is cut")
		return false
	}
	t.index.entry(start)
	n, err := io.Copy(io.Discard, io.LimitReader(t.members, maxPadding))
	switch {
	case err != nil:
		t.find(Broken, "", "%v", err)
		return false
	case n == maxPadding:
		t.find(Broken, "", "more than %d bytes follow the end of the tar; it isn't read on", maxPadding)
		return false
	}
	t.index.end(t.members.consumed())
	return true
}

// compare compares what was found with what the rest of the backup says.
func (t *tarCheck) compare() {
	for _, p := range slices.SortedFunc(maps.Values(t.pending), func(a, b twin) int { return strings.Compare(a.path, b.path) }) {
		if t.version == "1" {
			break // that format has no second copies
		}
		t.find(Broken, p.path, "its second copy is missing: an object stands at the path without version and at that of its preferred version")
	}
	t.compareProgress()
	t.compareCoverage()
	if t.listed == nil {
		return
	}
	severity := Broken
	if !t.strict() && t.marker != nil && t.marker.Status.Errors > 0 {
		severity = Warning // Velero lists what it tried
	}
	t.listed.missing(func(kind, name string) {
		t.find(severity, "", "%s %q is in the resource list, but not in the archive", kind, name)
	})
}

func (t *tarCheck) compareProgress() {
	if t.marker == nil || t.marker.Status.Progress == nil {
		return
	}
	// An object that is stored in several versions counts once, or once for each.
	said := t.marker.Status.Progress.ItemsBackedUp
	if said != t.objects && said != t.plain+t.others {
		t.find(t.deviation(), "", "it holds %d objects; the commit marker says %d", t.objects, said)
	}
}

func (t *tarCheck) compareCoverage() {
	if t.stored == nil || t.others > 0 {
		return
	}
	for _, resource := range slices.Sorted(maps.Keys(t.perKind)) {
		if t.stored[resource] != t.perKind[resource] {
			t.find(Broken, "", "it holds %d objects of %s; the coverage says %d", t.perKind[resource], resource, t.stored[resource])
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(t.stored)) {
		if t.perKind[resource] == 0 {
			t.find(Broken, "", "it holds no objects of %s; the coverage says %d", resource, t.stored[resource])
		}
	}
}

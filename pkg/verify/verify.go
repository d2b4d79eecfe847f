// Package verify reads a whole backup back and says what is wrong with it: the
// objects in the bucket against the checksums that were stored with them, the
// archive against the grammar of its format, and the side files, the archive and
// the commit marker against each other. It streams: besides the resource list it
// holds some bytes for each object, and one body at a time. Nothing that it reads
// is trusted. It knows neither cloud nor cluster.
//
// What Velero wrote has no checksums and no index; it is checked as far as it can
// be, and findings say what couldn't.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// Source is the folder of one backup. Errors other than fs.ErrNotExist end the
// verification: they say nothing about the backup.
type Source interface {
	// Open opens length bytes from offset of the object name; a negative length
	// means to the end. fs.ErrNotExist when there is no such object.
	Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)
	// List returns the names of all objects, relative to the folder.
	List(ctx context.Context) ([]string, error)
}

// Severity says what a finding means.
type Severity string

const (
	// Broken means that something isn't as it was written, or that it can't be
	// restored as it is.
	Broken Severity = "broken"
	// Warning is worth reading; a restore works all the same.
	Warning Severity = "warning"
	// Unchecked says what could not be checked, and why.
	Unchecked Severity = "unchecked"
)

// Finding is one thing to tell.
type Finding struct {
	Severity Severity `json:"severity"`
	// Object is the name of the object in the backup's folder; empty for the whole.
	Object string `json:"object,omitempty"`
	// Path is the entry of the archive, where the finding is about one.
	Path string `json:"path,omitempty"`
	Text string `json:"text"`
}

// Progress says how far the verification is.
type Progress struct {
	// Object is what is being read.
	Object string `json:"object"`
	// Bytes were read so far, of all objects.
	Bytes int64 `json:"bytes"`
	// Items were found in the archive so far.
	Items int `json:"items"`
}

// Summary is the end of a verification.
type Summary struct {
	Backup string `json:"backup,omitempty"`
	// Sound means that nothing is broken.
	Sound bool `json:"sound"`
	// Objects were read in the bucket, Bytes in all; Items are in the archive.
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Items   int   `json:"items"`
	// Broken, Warnings and Unchecked count the findings, also those that were too
	// many to tell.
	Broken    int `json:"broken"`
	Warnings  int `json:"warnings"`
	Unchecked int `json:"unchecked"`
}

// Event is what a verification tells while it runs: one of the fields is set.
// Encoded as JSON, one per line, it is also what a reader Job sends; there the
// last line has a Summary, or an Error that ended it.
type Event struct {
	Finding  *Finding  `json:"finding,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Summary  *Summary  `json:"summary,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// maxFindings bounds how many findings are told; the rest is counted.
const maxFindings = 1000

// progressEvery is how often progress is told.
const progressEvery = time.Second

// Backup verifies the backup in src. Findings and progress go to tell, whose
// error ends it. An error means that the verification couldn't be done, and
// nothing about the backup.
func Backup(ctx context.Context, src Source, backup string, tell func(Event) error) (Summary, error) {
	c := &check{src: src, backup: backup, tell: tell, told: time.Now(), summary: Summary{Backup: backup}}
	for _, step := range []func(context.Context) error{c.list, c.readMarker, c.readChecksums, c.compareNames, c.readSideFiles, c.readArchive} {
		if err := step(ctx); err != nil {
			return c.end(fmt.Errorf("verify backup %q: %w", backup, err))
		}
	}
	return c.end(nil)
}

// Archive verifies an archive by itself, as far as that shows anything.
func Archive(ctx context.Context, r io.Reader, name string, tell func(Event) error) (Summary, error) {
	c := &check{tell: tell, told: time.Now()}
	c.find(Unchecked, "", "an archive alone has no checksums and no resource list: they are in the backup's folder")
	err := c.read(ctx, name, io.NopCloser(r), c.archive)
	if err != nil {
		err = fmt.Errorf("verify %q: %w", name, err)
	}
	return c.end(err)
}

// check is one verification.
type check struct {
	src     Source
	backup  string
	tell    func(Event) error
	summary Summary
	told    time.Time
	object  string // what is being read
	failed  error  // of tell

	names  []string
	marker *velerov1.Backup // nil when it can't be read
	sums   map[string]sum   // nil without checksums
	listed *resourceList    // nil without resource list
	index  *archive.Index   // nil without index
	stored map[string]int   // objects by resource/version, from the coverage; nil without
}

// strict reports whether every deviation from the format is a fault: what this
// program wrote has none; what others wrote may.
func (c *check) strict() bool { return c.sums != nil }

// deviation is the severity of a harmless deviation from the format.
func (c *check) deviation() Severity {
	if c.strict() {
		return Broken
	}
	return Warning
}

func (c *check) end(err error) (Summary, error) {
	c.summary.Sound = err == nil && c.summary.Broken == 0
	if err == nil {
		err = c.failed
	}
	return c.summary, err
}

// find tells a finding about the object that is being read.
func (c *check) find(severity Severity, path, format string, args ...any) {
	counts := map[Severity]*int{Broken: &c.summary.Broken, Warning: &c.summary.Warnings, Unchecked: &c.summary.Unchecked}
	*counts[severity]++
	all := c.summary.Broken + c.summary.Warnings + c.summary.Unchecked
	switch {
	case all <= maxFindings:
		c.event(Event{Finding: &Finding{Severity: severity, Object: c.object, Path: path, Text: fmt.Sprintf(format, args...)}})
	case all == maxFindings+1:
		c.event(Event{Finding: &Finding{Severity: severity, Text: fmt.Sprintf("more than %d findings: the rest is only counted", maxFindings)}})
	}
}

func (c *check) event(e Event) {
	if c.failed == nil {
		c.failed = c.tell(e)
	}
}

// progress tells how far it is, now and then.
func (c *check) progress(n int) {
	c.summary.Bytes += int64(n)
	if now := time.Now(); now.Sub(c.told) >= progressEvery {
		c.told = now
		c.event(Event{Progress: &Progress{Object: c.object, Bytes: c.summary.Bytes, Items: c.summary.Items}})
	}
}

func (c *check) list(ctx context.Context) (err error) {
	if c.names, err = c.src.List(ctx); err != nil {
		return fmt.Errorf("list its objects: %w", err)
	}
	slices.Sort(c.names)
	if !c.has(markerName) {
		c.object = markerName
		c.find(Broken, "", "there is no commit marker: the backup never became complete, and doesn't exist for a restore")
	}
	return nil
}

func (c *check) has(name string) bool {
	_, found := slices.BinarySearch(c.names, name)
	return found
}

// open opens the whole of an object; nil when there is none.
func (c *check) open(ctx context.Context, name string) (io.ReadCloser, error) {
	body, err := c.src.Open(ctx, name, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		c.object = name
		c.find(Broken, "", "it is missing")
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return body, nil
}

// name is the object of the backup that ends in suffix.
func (c *check) name(suffix string) string { return c.backup + suffix }

// suffix is what the name of an object of the backup ends in, such as
// "-results.gz"; false for a name that Velero's format doesn't have.
func (c *check) suffix(name string) (string, bool) {
	if path.Base(name) != name {
		return "", false
	}
	return strings.CutPrefix(name, c.backup)
}

package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/gzip"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

const (
	archiveSuffix      = ".tar.gz"
	resourceListSuffix = "-resource-list.json.gz"
	claimSuffix        = "-claim.json"
	indexSuffix        = "-index.json.gz"
)

// shapes are what the side files hold, by the endings of their names.
func (c *check) shapes() map[string]func(io.Reader) error {
	return map[string]func(io.Reader) error{
		"-logs.gz":                            c.text,
		"-results.gz":                         c.results,
		resourceListSuffix:                    c.resourceList,
		"-podvolumebackups.json.gz":           list[velerov1.PodVolumeBackup],
		"-volumesnapshots.json.gz":            list[record],
		"-itemoperations.json.gz":             list[record],
		"-volumeinfo.json.gz":                 list[volumeInfo],
		"-csi-volumesnapshots.json.gz":        list[map[string]any],
		"-csi-volumesnapshotcontents.json.gz": list[map[string]any],
		"-csi-volumesnapshotclasses.json.gz":  list[map[string]any],
		"-coverage.json.gz":                   c.coverage,
		indexSuffix:                           c.readIndex,
		claimSuffix:                           c.claim,
	}
}

// usual are the side files that Velero 1.13 and later write for every backup.
var usual = []string{
	"-logs.gz", "-results.gz", resourceListSuffix, "-podvolumebackups.json.gz", "-volumesnapshots.json.gz",
	"-itemoperations.json.gz", "-volumeinfo.json.gz",
}

// readSideFiles reads everything but marker, checksums and archive.
func (c *check) readSideFiles(ctx context.Context) error {
	if !c.strict() {
		for _, suffix := range usual {
			if name := c.name(suffix); !c.has(name) {
				c.object = name
				c.find(Warning, "", "it is missing; Velero writes it since 1.13")
			}
		}
	}
	shapes := c.shapes()
	for _, name := range c.names {
		suffix, ok := c.suffix(name)
		if name == markerName || ok && (suffix == archiveSuffix || suffix == checksumsSuffix) {
			continue
		}
		shape := shapes[suffix]
		err := c.readNamed(ctx, name, func(r io.Reader) {
			if !ok || shape == nil {
				discard(r)
				return
			}
			if err := shape(r); err != nil {
				c.find(Broken, "", "%v", err)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// record is what snapshots and item operations have.
type record struct {
	Spec   map[string]any `json:"spec"`
	Status map[string]any `json:"status"`
}

// volumeInfo is the part of a volume's record that a restore decides by.
type volumeInfo struct {
	PVCName                  string         `json:"pvcName"`
	PVCNamespace             string         `json:"pvcNamespace"`
	PVName                   string         `json:"pvName"`
	BackupMethod             string         `json:"backupMethod"`
	SnapshotDataMoved        bool           `json:"snapshotDataMoved"`
	Skipped                  bool           `json:"skipped"`
	SkippedReason            string         `json:"skippedReason"`
	CSISnapshotInfo          map[string]any `json:"csiSnapshotInfo"`
	SnapshotDataMovementInfo map[string]any `json:"snapshotDataMovementInfo"`
	NativeSnapshotInfo       map[string]any `json:"nativeSnapshotInfo"`
	PVBInfo                  map[string]any `json:"pvbInfo"`
}

// list reads a gzipped JSON array of T, or null, element by element.
func list[T any](r io.Reader) error {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("it isn't gzipped: %w", err)
	}
	decoder := json.NewDecoder(io.LimitReader(plain, maxJSONBytes))
	first, err := decoder.Token()
	if err != nil {
		return decodeError(err)
	}
	if first != nil {
		if first != json.Delim('[') {
			return fmt.Errorf("it begins with %v, and should be an array", first)
		}
		for n := 0; decoder.More(); n++ {
			var element T
			if err := decoder.Decode(&element); err != nil {
				return fmt.Errorf("element %d: %w", n, decodeError(err))
			}
		}
		if _, err := decoder.Token(); err != nil {
			return decodeError(err)
		}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its JSON")
	}
	return nil
}

func decodeError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("it doesn't decode: %w", err)
}

// text reads a log.
func (c *check) text(r io.Reader) error {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("it isn't gzipped: %w", err)
	}
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return fmt.Errorf("it doesn't unpack: %w", err)
	}
	return nil
}

func (c *check) results(r io.Reader) error {
	var results report.Results
	return gzipJSON(r, maxJSONBytes, &results)
}

func (c *check) claim(r io.Reader) error {
	var claim struct {
		BackupUID string `json:"backupUID"`
	}
	if err := plainJSON(r, maxMarkerBytes, &claim); err != nil {
		return err
	}
	if c.marker != nil && claim.BackupUID != string(c.marker.UID) {
		return fmt.Errorf("it claims the name for the Backup with UID %q; the commit marker is that of %q", claim.BackupUID, c.marker.UID)
	}
	return nil
}

func (c *check) readIndex(r io.Reader) error {
	plain, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("it isn't gzipped: %w", err)
	}
	index, err := archive.ReadIndex(plain)
	if err != nil {
		return err
	}
	// Its checksum comes at the end.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return fmt.Errorf("it doesn't unpack: %w", noEOF(err))
	}
	c.index = index
	return nil
}

func (c *check) coverage(r io.Reader) error {
	var coverage report.Coverage
	if err := gzipJSON(r, maxJSONBytes, &coverage); err != nil {
		return err
	}
	c.stored = map[string]int{}
	for _, kind := range coverage.Kinds {
		skipped := 0
		for _, n := range kind.Skipped {
			skipped += n
		}
		if kind.Listed+kind.Related-skipped != kind.Stored {
			c.find(Broken, "", "%s: %d listed + %d related - %d skipped are not %d stored", kind.Resource, kind.Listed, kind.Related, skipped, kind.Stored)
		}
		if kind.Stored > 0 {
			c.stored[kind.Resource] += kind.Stored
		}
	}
	return nil
}

// resourceList is which objects are said to be in the archive.
type resourceList struct {
	names map[string][]string
	// found says for the hash of each whether it was found.
	found map[key]bool
}

func (c *check) resourceList(r io.Reader) error {
	l := &resourceList{found: map[key]bool{}}
	if err := gzipJSON(r, maxJSONBytes, &l.names); err != nil {
		return err
	}
	for kind, names := range l.names {
		if !slices.IsSorted(names) {
			c.find(c.deviation(), "", "the names of %s are not sorted", kind)
		}
		for _, name := range names {
			k := keyOf(kind, name)
			if _, twice := l.found[k]; twice {
				c.find(c.deviation(), "", "%s %s stands in it twice", kind, name)
			}
			l.found[k] = false
		}
	}
	c.listed = l
	return nil
}

// missing visits what is listed and was not found, in order.
func (l *resourceList) missing(visit func(kind, name string)) {
	for _, kind := range slices.Sorted(maps.Keys(l.names)) {
		for _, name := range l.names[kind] {
			if !l.found[keyOf(kind, name)] {
				visit(kind, name)
			}
		}
	}
}

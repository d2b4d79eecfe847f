package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// memberSize is the number of uncompressed bytes after which a new gzip member
// begins: small enough to read one object without much else, large enough to
// compress as well as one member.
const memberSize = 512 << 10

// Writer writes an archive as a stream: nothing is held back but the members
// that are being filled and compressed. Every member is compressed by itself, on
// any core, and every reader takes them all as one stream. A Writer is safe for
// concurrent use by its Kinds; after an error all of them fail.
type Writer struct {
	packer  *packer
	modTime time.Time
}

// NewWriter begins an archive on w. Its entries have the time modTime, to the
// second, so that the same objects make the same entries. Close ends the
// archive; it doesn't close w.
func NewWriter(w io.Writer, modTime time.Time) (*Writer, error) {
	writer := &Writer{packer: startPacker(w), modTime: modTime.Truncate(time.Second)}
	m := writer.packer.member()
	if err := writer.entry(m, VersionPath, []byte(FormatVersion+"\n")); err != nil {
		return nil, errors.Join(err, writer.packer.stop())
	}
	if err := writer.packer.add(m); err != nil {
		return nil, errors.Join(err, writer.packer.stop())
	}
	return writer, nil
}

// Kind returns where the objects of one kind and version are written. preferred
// says that the version is the source cluster's preferred one: such objects also
// stand at the path without version, which is the one that a restore reads.
func (w *Writer) Kind(resource schema.GroupResource, version string, preferred bool) (*Kind, error) {
	name := resource.String()
	if !resourceName.MatchString(name) || !isSegment(version) {
		return nil, fmt.Errorf("store %s in version %q: %w", name, version, errPath)
	}
	folder := root + "/" + name + "/"
	k := &Kind{writer: w, meta: Member{Resource: name, Version: version, Preferred: preferred}}
	if preferred {
		k.folders = []string{folder, folder + version + preferredSuffix + "/"}
	} else {
		k.folders = []string{folder + version + "/"}
	}
	return k, nil
}

// entry appends one file to a member. The mode is 0755 because Velero creates
// the folders above a file with the file's own mode.
func (w *Writer) entry(m *packed, name string, body []byte) error {
	header := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(body)), ModTime: w.modTime}
	if err := m.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := m.tar.Write(body); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return m.tar.Flush()
}

// entryOverhead is the most that an entry of the usual kind takes besides its
// body, in bytes: header and padding, twice with a long name.
const entryOverhead = 4 * 512

// endOfTar is what ends a tar: two empty blocks.
var endOfTar [1024]byte

// Close writes the end of the archive and returns its index. The Kinds must have
// been closed. Its error must be looked at: without the end the archive is torn.
func (w *Writer) Close() (*Index, error) {
	m := w.packer.member()
	m.plain.Write(endOfTar[:])
	err := w.packer.add(m)
	if err := errors.Join(err, w.packer.stop()); err != nil {
		return nil, fmt.Errorf("end archive: %w", err)
	}
	return &Index{FormatVersion: FormatVersion, Size: w.packer.written, Members: w.packer.members}, nil
}

// Abort gives up: nothing more is written, and all that the Writer started has
// ended when Abort returns. After Close it does nothing.
func (w *Writer) Abort() {
	w.packer.fail(errors.New("archive given up"))
	_ = w.packer.stop() // says no more than that
}

// Kind writes the objects of one kind. It is not safe for concurrent use, but
// several Kinds of a Writer are, also of the same kind.
type Kind struct {
	writer  *Writer
	folders []string
	meta    Member
	current *packed
}

var errPath = errors.New("not a path of the backup format")

// Write adds one object; namespace is empty for a cluster-scoped one. The caller
// may use body again afterwards. An *ItemError concerns this object alone.
func (k *Kind) Write(namespace, name string, body []byte) error {
	place, err := placeOf(namespace, name)
	if err != nil {
		return &ItemError{Path: k.folders[0] + place, Err: err}
	}
	if k.current == nil {
		k.current = k.writer.packer.member()
		k.current.meta = k.meta
	}
	k.current.plain.Grow(len(k.folders) * (len(body) + entryOverhead))
	for _, folder := range k.folders {
		if err := k.writer.entry(k.current, folder+place, body); err != nil {
			return err
		}
	}
	k.note(qualified(namespace, name))
	if k.current.plain.Len() >= memberSize {
		return k.flush()
	}
	return nil
}

func (k *Kind) note(name string) {
	meta := &k.current.meta
	if meta.Objects == 0 || name < meta.First {
		meta.First = name
	}
	meta.Last = max(meta.Last, name)
	meta.Objects++
}

func (k *Kind) flush() error {
	if k.current == nil {
		return nil
	}
	m := k.current
	k.current = nil
	return k.writer.packer.add(m)
}

// Close hands on what is left. The Kind may be used again.
func (k *Kind) Close() error { return k.flush() }

func placeOf(namespace, name string) (string, error) {
	place := clusterFolder + "/" + name + fileSuffix
	if namespace != "" {
		place = namespaceFolder + "/" + namespace + "/" + name + fileSuffix
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			return place, errPath
		}
	}
	if !isSegment(name) || len(place) > maxPlace {
		return place, errPath
	}
	return place, nil
}

// maxPlace leaves room for the folders in a path of maxPath bytes.
const maxPlace = 640

func isSegment(name string) bool {
	return name != "" && len(content.IsPathSegmentName(name)) == 0 && !strings.ContainsAny(name, "\\\x00")
}

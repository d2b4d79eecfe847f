//go:build integration

package backup_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// What follows reads backups with the standard library alone, so that a fault
// shared by writer and reader shows.

// object is one object of an archive, in one version.
type object struct {
	resource, version, namespace, name string
	body                               []byte
}

func (o object) String() string { return fmt.Sprintf("%s %s/%s", o.resource, o.namespace, o.name) }

func (o object) qualified() string { return strings.TrimPrefix(o.namespace+"/"+o.name, "/") }

// header is what every object says of itself.
func (o object) header(t *testing.T) (apiVersion, kind string) {
	t.Helper()
	var header struct {
		APIVersion, Kind string
		Metadata         struct{ Namespace, Name string }
	}
	if err := json.Unmarshal(o.body, &header); err != nil {
		t.Errorf("%s: %v", o, err)
	}
	if header.APIVersion == "" || header.Kind == "" || header.Metadata.Namespace != o.namespace || header.Metadata.Name != o.name {
		t.Errorf("%s says that it is %+v", o, header)
	}
	return header.APIVersion, header.Kind
}

// entry is one file of an archive.
type entry struct {
	path string
	body []byte
}

var entryPath = regexp.MustCompile(`^resources/([a-z0-9.-]+)/(?:(v[0-9][a-z0-9]*)(-preferredversion)?/)?(?:cluster|namespaces/([a-z0-9-]+))/([^/]+)\.json$`)

// readTar reads an archive, or a part of one.
func readTar(t *testing.T, compressed io.Reader) []entry {
	t.Helper()
	gz, err := gzip.NewReader(compressed)
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for r := tar.NewReader(gz); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg || header.Mode != 0o755 {
			t.Errorf("%s has type %q and mode %o", header.Name, header.Typeflag, header.Mode)
		}
		entries = append(entries, entry{header.Name, body})
	}
}

// objectsOf checks the layout and returns every object once per version, in the
// order of the archive.
func objectsOf(t *testing.T, entries []entry) []object {
	t.Helper()
	plain := map[string][]byte{}
	seen := map[string]bool{}
	preferred := 0
	var objects []object
	for _, e := range entries {
		if seen[e.path] {
			t.Errorf("%s is there twice", e.path)
		}
		seen[e.path] = true
		parts := entryPath.FindStringSubmatch(e.path)
		switch {
		case e.path == "metadata/version":
			continue
		case parts == nil:
			t.Errorf("%s has no place in the layout", e.path)
			continue
		case parts[2] == "":
			plain[e.path] = e.body
			continue
		case parts[3] != "":
			preferred++
			twin := strings.Replace(e.path, "/"+parts[2]+parts[3]+"/", "/", 1)
			if body, ok := plain[twin]; !ok || !bytes.Equal(body, e.body) {
				t.Errorf("%s and %s differ", twin, e.path)
			}
		}
		objects = append(objects, object{resource: parts[1], version: parts[2], namespace: parts[4], name: parts[5], body: e.body})
	}
	if preferred != len(plain) {
		t.Errorf("%d entries without version, %d in the preferred one", len(plain), preferred)
	}
	return objects
}

// object reads an object of the bucket.
func (f *fixture) object(key string) []byte {
	f.t.Helper()
	r, err := f.bucket().Get(f.t.Context(), key)
	if err != nil {
		f.t.Fatal(err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		f.t.Fatal(err)
	}
	return body
}

// entries reads the archive of a backup.
func (f *fixture) entries(name string) []entry {
	f.t.Helper()
	return readTar(f.t, bytes.NewReader(f.object(fmt.Sprintf("backups/%s/%s.tar.gz", name, name))))
}

func (f *fixture) objects(name string) []object { f.t.Helper(); return objectsOf(f.t, f.entries(name)) }

// side decodes a side file into v; keys that v doesn't have are errors.
func (f *fixture) side(name, suffix string, v any) {
	f.t.Helper()
	key := fmt.Sprintf("backups/%s/%s-%s", name, name, suffix)
	body := f.object(key)
	if strings.HasSuffix(suffix, ".gz") {
		body = gunzip(f.t, body)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		f.t.Fatalf("%s: %v\n%s", key, err, body[:min(len(body), 500)])
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		f.t.Errorf("%s holds more than one value", key)
	}
}

func gunzip(t *testing.T, compressed []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// coverage is the schema of the coverage object.
type coverage struct {
	Kinds []struct {
		Resource   string         `json:"resource"`
		Version    string         `json:"version"`
		Namespaced bool           `json:"namespaced"`
		State      string         `json:"state"`
		Reason     string         `json:"reason"`
		Listed     int            `json:"listed"`
		Related    int            `json:"related"`
		Stored     int            `json:"stored"`
		Bytes      int64          `json:"bytes"`
		Skipped    map[string]int `json:"skipped"`
	} `json:"kinds"`
}

// kind returns the state of a kind and what of it was skipped and why.
func (f *fixture) kind(name, resource string) (state, reason string, skipped map[string]int) {
	f.t.Helper()
	var c coverage
	f.side(name, "coverage.json.gz", &c)
	for _, k := range c.Kinds {
		if k.Resource == resource {
			return k.State, k.Reason, k.Skipped
		}
	}
	f.t.Fatalf("the coverage of %q has no %s", name, resource)
	return "", "", nil
}

// audit checks what holds for every backup that exists: listed + related -
// skipped = stored, for every kind = objects in the archive = resource list =
// progress; every sum is right; every part of the archive is where the index
// says.
func (f *fixture) audit(b *velerov1.Backup) {
	f.t.Helper()
	if b.Status.Phase != velerov1.BackupPhaseCompleted && b.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		return
	}
	objects := f.objects(b.Name)
	f.auditCoverage(b.Name, objects)
	f.auditResourceList(b.Name, objects)
	f.auditStatus(b, len(objects))
	f.auditChecksums(b.Name)
	f.auditIndex(b.Name, objects)
}

func (f *fixture) auditCoverage(name string, objects []object) {
	f.t.Helper()
	type count struct {
		Objects int
		Bytes   int64
	}
	inArchive, covered := map[string]count{}, map[string]count{}
	for _, o := range objects {
		c := inArchive[o.resource+" "+o.version]
		inArchive[o.resource+" "+o.version] = count{c.Objects + 1, c.Bytes + int64(len(o.body))}
	}
	var c coverage
	f.side(name, "coverage.json.gz", &c)
	for _, k := range c.Kinds {
		skipped := 0
		for reason, n := range k.Skipped {
			if skipped += n; reason == "" || n <= 0 {
				f.t.Errorf("%s: %d skipped for reason %q", k.Resource, n, reason)
			}
		}
		if k.Listed+k.Related-skipped != k.Stored {
			f.t.Errorf("%s %s: %d listed + %d related - %d skipped %v isn't %d stored", k.Resource, k.Version, k.Listed, k.Related, skipped, k.Skipped, k.Stored)
		}
		if !slices.Contains([]string{"listed", "forbidden", "failed", "excluded", "notListable"}, k.State) || (k.State == "listed") != (k.Reason == "") {
			f.t.Errorf("%s: state %q with reason %q", k.Resource, k.State, k.Reason)
		}
		if k.Stored > 0 {
			covered[k.Resource+" "+k.Version] = count{k.Stored, k.Bytes}
		}
	}
	if diff := cmp.Diff(inArchive, covered); diff != "" {
		f.t.Errorf("coverage of %q (-archive +coverage):\n%s", name, diff)
	}
}

func (f *fixture) auditResourceList(name string, objects []object) {
	f.t.Helper()
	inArchive, listed := map[string][]string{}, map[string][]string{}
	for _, o := range objects {
		apiVersion, kind := o.header(f.t)
		inArchive[apiVersion+"/"+kind] = append(inArchive[apiVersion+"/"+kind], o.qualified())
	}
	for _, names := range inArchive {
		slices.Sort(names)
	}
	f.side(name, "resource-list.json.gz", &listed)
	if diff := cmp.Diff(inArchive, listed); diff != "" {
		f.t.Errorf("resource list of %q (-archive +list):\n%s", name, diff)
	}
}

// result is one half of a results object.
type result struct {
	Velero     []string            `json:"velero"`
	Cluster    []string            `json:"cluster"`
	Namespaces map[string][]string `json:"namespaces"`
}

func (r result) all() []string {
	return slices.Concat(append([][]string{r.Velero, r.Cluster}, slices.Collect(maps.Values(r.Namespaces))...)...)
}

// results reads the messages of a backup.
func (f *fixture) results(name string) (warnings, errors []string) {
	f.t.Helper()
	var results struct {
		Warnings result `json:"warnings"`
		Errors   result `json:"errors"`
	}
	f.side(name, "results.gz", &results)
	return results.Warnings.all(), results.Errors.all()
}

func (f *fixture) auditStatus(b *velerov1.Backup, objects int) {
	f.t.Helper()
	warnings, errors := f.results(b.Name)
	if b.Status.Warnings != len(warnings) || b.Status.Errors != len(errors) {
		f.t.Errorf("status counts %d warnings and %d errors, results hold %q and %q", b.Status.Warnings, b.Status.Errors, warnings, errors)
	}
	if (b.Status.Phase == velerov1.BackupPhasePartiallyFailed) != (len(errors) > 0) {
		f.t.Errorf("phase %s with errors %q", b.Status.Phase, errors)
	}
	if p := b.Status.Progress; p == nil || p.ItemsBackedUp != objects || p.TotalItems != objects {
		f.t.Errorf("progress %+v, objects in the archive %d", p, objects)
	}
}

// auditChecksums checks every sum, and that none is missing.
func (f *fixture) auditChecksums(name string) {
	f.t.Helper()
	type sum struct {
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	}
	var checksums struct {
		Objects map[string]sum `json:"objects"`
	}
	f.side(name, "checksums.json", &checksums)
	found := map[string]sum{}
	folder := "backups/" + name + "/"
	for info, err := range f.bucket().List(f.t.Context(), folder) {
		if err != nil {
			f.t.Fatal(err)
		}
		body := f.object(info.Key)
		digest := sha256.Sum256(body)
		switch file := path.Base(info.Key); file {
		case "velero-backup.json":
		case name + "-checksums.json":
			var marker velerov1.Backup
			if err := json.Unmarshal(f.object(folder+"velero-backup.json"), &marker); err != nil {
				f.t.Fatal(err)
			}
			if got := marker.Annotations[velerov1.ChecksumsAnnotation]; got != hex.EncodeToString(digest[:]) {
				f.t.Errorf("the marker says that %s has the sum %q, it has %x", info.Key, got, digest)
			}
		default:
			found[file] = sum{int64(len(body)), hex.EncodeToString(digest[:])}
		}
	}
	if diff := cmp.Diff(found, checksums.Objects); diff != "" {
		f.t.Errorf("checksums of %q (-bucket +file):\n%s", name, diff)
	}
}

// index is the schema of the index object.
type index struct {
	FormatVersion string `json:"formatVersion"`
	Size          int64  `json:"size"`
	Members       []struct {
		Resource  string `json:"resource"`
		Version   string `json:"version"`
		Preferred bool   `json:"preferred"`
		Offset    int64  `json:"offset"`
		Length    int64  `json:"length"`
		Plain     int64  `json:"plain"`
		Objects   int    `json:"objects"`
		First     string `json:"first"`
		Last      string `json:"last"`
	} `json:"members"`
}

// auditIndex reads every member by itself.
func (f *fixture) auditIndex(name string, want []object) {
	f.t.Helper()
	archive := f.object(fmt.Sprintf("backups/%s/%s.tar.gz", name, name))
	var ix index
	f.side(name, "index.json.gz", &ix)
	if ix.FormatVersion != "1.1.0" || ix.Size != int64(len(archive)) {
		f.t.Errorf("index of %q: format %s, %d bytes; the archive has %d", name, ix.FormatVersion, ix.Size, len(archive))
	}
	var got []object
	var next int64
	for i, m := range ix.Members {
		if m.Offset != next || m.Length <= 0 {
			f.t.Fatalf("member %d of %q begins at %d and has %d bytes, the one before ends at %d", i, name, m.Offset, m.Length, next)
		}
		next += m.Length
		compressed := archive[m.Offset:next]
		if plain := int64(len(gunzip(f.t, compressed))); plain != m.Plain {
			f.t.Errorf("member %d of %q has %d bytes, the index says %d", i, name, plain, m.Plain)
		}
		if m.Resource == "" {
			continue
		}
		objects := objectsOf(f.t, readTar(f.t, bytes.NewReader(compressed)))
		got = append(got, objects...)
		names := []string{}
		for _, o := range objects {
			if o.resource != m.Resource || o.version != m.Version {
				f.t.Errorf("member %d of %q is %s %s and holds %s %s", i, name, m.Resource, m.Version, o, o.version)
			}
			names = append(names, o.qualified())
		}
		if len(names) != m.Objects || len(names) == 0 || slices.Min(names) != m.First || slices.Max(names) != m.Last {
			f.t.Errorf("member %d of %q says %d objects from %q to %q, it holds %q", i, name, m.Objects, m.First, m.Last, names)
		}
	}
	if next != ix.Size || len(got) != len(want) {
		f.t.Errorf("members of %q end at %d of %d and hold %d of %d objects", name, next, ix.Size, len(got), len(want))
	}
}

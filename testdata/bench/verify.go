package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"regexp"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// contents is what a backup holds.
type contents struct {
	items        int
	plainBytes   int64 // JSON, each object once
	archiveBytes int64
}

// entry is an object of an archive.
type entry struct {
	places int // where it stands, of two
	sum    uint64
}

// verify looks whether a backup is what it says, and what the cluster holds, and
// removes it. It reads with the standard library, not with the code that wrote.
func (b *bed) verify(ctx context.Context, name string, e *expectation) (*contents, error) {
	backup, err := b.velero.Backups(velerov1.DefaultNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if err := checkStatus(backup.Status); err != nil {
		return nil, fmt.Errorf("backup %q: %w", name, err)
	}
	found, err := b.readArchive(ctx, name, e)
	if err != nil {
		return nil, fmt.Errorf("archive of %q: %w", name, err)
	}
	if said := backup.Status.Progress.ItemsBackedUp; said != found.items {
		return nil, fmt.Errorf("backup %q says %d items, its archive holds %d", name, said, found.items)
	}
	if err := b.checkMarker(ctx, name, found.items); err != nil {
		return nil, fmt.Errorf("commit marker of %q: %w", name, err)
	}
	if err := b.checkResourceList(ctx, name, found.items); err != nil {
		return nil, fmt.Errorf("resource list of %q: %w", name, err)
	}
	return found, b.remove(ctx, name)
}

func checkStatus(s velerov1.BackupStatus) error {
	if s.Phase != velerov1.BackupPhaseCompleted || s.Errors > 0 || s.Progress == nil {
		return fmt.Errorf("it is %s with %d errors: %s", s.Phase, s.Errors, s.FailureReason)
	}
	return nil
}

func (b *bed) checkMarker(ctx context.Context, name string, items int) error {
	body, err := b.bucket.Get(ctx, backupFolder(name)+"velero-backup.json")
	if err != nil {
		return err
	}
	defer body.Close()
	var marker velerov1.Backup
	if err := json.NewDecoder(body).Decode(&marker); err != nil {
		return err
	}
	if err := checkStatus(marker.Status); err != nil {
		return err
	}
	if said := marker.Status.Progress.ItemsBackedUp; said != items {
		return fmt.Errorf("it says %d items, the archive holds %d", said, items)
	}
	return nil
}

func (b *bed) checkResourceList(ctx context.Context, name string, items int) error {
	body, err := b.bucket.Get(ctx, backupFolder(name)+name+"-resource-list.json.gz")
	if err != nil {
		return err
	}
	defer body.Close()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	var list map[string][]string
	if err := json.NewDecoder(plain).Decode(&list); err != nil {
		return err
	}
	count := 0
	for _, names := range list {
		count += len(names)
	}
	if count != items {
		return fmt.Errorf("it names %d objects, the archive holds %d", count, items)
	}
	return nil
}

// readArchive reads all of an archive: every object has to stand at both its
// places with the same bytes, and nothing of the cluster may be missing.
func (b *bed) readArchive(ctx context.Context, name string, e *expectation) (*contents, error) {
	key := backupFolder(name) + name + ".tar.gz"
	info, err := b.bucket.Stat(ctx, key)
	if err != nil {
		return nil, err
	}
	body, err := b.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, err
	}
	found := &contents{archiveBytes: info.Size}
	r := archiveReader{seed: maphash.MakeSeed(), entries: map[object]entry{}, contents: found}
	if err := r.read(tar.NewReader(plain)); err != nil {
		return nil, err
	}
	// Behind the end of the tar there may be no more than padding.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, err
	}
	for o, entry := range r.entries {
		if entry.places != 2 {
			return nil, fmt.Errorf("%s stands at %d places, not 2", o, entry.places)
		}
	}
	found.items = len(r.entries)
	return found, e.missing(r.entries)
}

type archiveReader struct {
	*contents
	seed    maphash.Seed
	entries map[object]entry
}

func (r *archiveReader) read(archive *tar.Reader) error {
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Name == "metadata/version" {
			continue
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			return err
		}
		if err := r.add(header.Name, body); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

// place is the path of an object, at either of its places.
var objectPath = regexp.MustCompile(`^resources/([^/]+)/(?:[^/]+-preferredversion/)?(?:cluster|namespaces/([^/]+))/([^/]+)\.json$`)

func (r *archiveReader) add(path string, body []byte) error {
	parts := objectPath.FindStringSubmatch(path)
	if parts == nil {
		return errors.New("not a path of the format")
	}
	o := object{resource: parts[1], namespace: parts[2], name: parts[3]}
	sum := maphash.Bytes(r.seed, body)
	before := r.entries[o]
	r.entries[o] = entry{places: before.places + 1, sum: sum}
	if before.places > 0 {
		if before.sum != sum {
			return errors.New("it differs from that at its other place")
		}
		return nil
	}
	r.plainBytes += int64(len(body))
	return checkBody(o, body)
}

func checkBody(o object, body []byte) error {
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(body, &meta); err != nil {
		return err
	}
	_, group, _ := strings.Cut(o.resource, ".")
	switch {
	case meta.Namespace != o.namespace || meta.Name != o.name || meta.UID == "":
		return fmt.Errorf("it holds %s/%s", meta.Namespace, meta.Name)
	case meta.Kind == "" || meta.GroupVersionKind().Group != group:
		return fmt.Errorf("it holds a %s of %s", meta.Kind, meta.APIVersion)
	}
	return nil
}

package store

import (
	"context"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"
)

// unfinished matches the name of a file that is still being written: a random part,
// and the object's name as far as it fits.
var unfinished = regexp.MustCompile(`^\.kubectl-velero-[0-9a-f]{12}-`)

// silly matches what an NFS client makes of a file that is deleted while somebody
// reads it.
var silly = regexp.MustCompile(`^\.nfs[0-9a-f]{16,}$`)

// isObjectName reports whether a file of that name is an object.
func isObjectName(name string) bool { return !unfinished.MatchString(name) && !silly.MatchString(name) }

// isUnfinished reports whether a file is to become an object whose key starts with
// prefix. Of a long name, the end isn't known.
func isUnfinished(folder, file, prefix string) bool {
	start := unfinished.FindString(file)
	if start == "" {
		return false
	}
	key := path.Join(folder, strings.TrimPrefix(file, start))
	const longestRune = 4
	isCut := len(file) > maxFileName-longestRune
	return strings.HasPrefix(key, prefix) || isCut && strings.HasPrefix(prefix, key)
}

// AbortUploads implements UploadAborter. It also removes empty folders, which a
// writer leaves that is killed before its file is there.
func (b *filesystemBucket) AbortUploads(ctx context.Context, prefix string) (removed int, err error) {
	const op = "remove unfinished objects from"
	err = b.eachUnfinished(ctx, op, prefix, func(at *os.Root, name string) error {
		err := at.Remove(name)
		if isMissing(err) {
			return nil
		}
		removed++
		return err
	}, b.prune)
	return removed, err
}

// PendingUploads counts the objects that are being written, or that a killed writer
// left, to keys that start with prefix, and says when the oldest was written to.
func (b *filesystemBucket) PendingUploads(ctx context.Context, prefix string) (count int, oldest time.Time, err error) {
	const op = "look for unfinished objects in"
	err = b.eachUnfinished(ctx, op, prefix, func(at *os.Root, name string) error {
		info, err := statFile(at, name)
		if isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if at := info.ModTime().UTC(); count == 0 || at.Before(oldest) {
			oldest = at
		}
		count++
		return nil
	}, func(string) {})
	return count, oldest, err
}

// eachUnfinished calls each for the files that are to become objects whose keys start
// with prefix, and then after for each folder in which it looked.
func (b *filesystemBucket) eachUnfinished(ctx context.Context, op, prefix string, each func(at *os.Root, name string) error, after func(folder string)) error {
	folder, _ := path.Split(prefix)
	if folder = strings.TrimSuffix(folder, "/"); folder != "" && checkKey(folder) != nil {
		return nil // no key starts like that
	}
	var visit func(folder string) error
	visit = func(folder string) error {
		if err := checkContext(ctx); err != nil {
			return b.fail(op, folder, err)
		}
		found, err := b.readAll(folder)
		if err != nil {
			return b.fail(op, folder, err)
		}
		for _, e := range found {
			if key := path.Join(folder, e.Name()); e.IsDir() && strings.HasPrefix(key, prefix) {
				if err := visit(key); err != nil {
					return err
				}
			}
		}
		_, err = patiently(b.patience, func() (struct{}, error) {
			return struct{}{}, b.visitUnfinished(folder, prefix, found, each, after)
		}, nil)
		if err != nil && !isMissing(err) {
			return b.fail(op, folder, err)
		}
		return nil
	}
	return visit(folder)
}

func (b *filesystemBucket) visitUnfinished(folder, prefix string, found []fs.DirEntry, each func(at *os.Root, name string) error, after func(folder string)) error {
	at, err := b.open(folder)
	if err != nil {
		return err
	}
	defer at.Close()
	for _, e := range found {
		if e.Type().IsRegular() && isUnfinished(folder, e.Name(), prefix) {
			if err := each(at, e.Name()); err != nil {
				return err
			}
		}
	}
	after(folder)
	return nil
}

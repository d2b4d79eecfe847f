package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// readAhead is how much is read from a file at a time.
const readAhead = 256 << 10

// Get implements Bucket.
func (b *filesystemBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	return b.GetRange(ctx, key, 0, -1)
}

// GetRange implements Bucket. The file that was opened is read to its end, whatever
// becomes of its name.
func (b *filesystemBucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const op = "read object"
	if offset < 0 {
		return nil, fmt.Errorf("read object %q: negative offset %d", key, offset)
	}
	if length == 0 {
		if _, err := b.Stat(ctx, key); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	folder, name, err := b.split(key)
	if err != nil {
		return nil, err
	}
	if err := checkContext(ctx); err != nil {
		return nil, b.fail(op, key, err)
	}
	file, err := patiently(b.patience, func() (*os.File, error) {
		return b.openFile(folder, name, offset)
	}, func(f *os.File) { _ = f.Close() })
	if err != nil {
		return nil, b.fail(op, key, err)
	}
	if length < 0 {
		length = math.MaxInt64
	}
	return &fileReader{ctx: ctx, bucket: b, key: key, file: file, left: length}, nil
}

// openFile opens an object at an offset. It never waits for the other end of a pipe.
func (b *filesystemBucket) openFile(folder, name string, offset int64) (*os.File, error) {
	at, err := b.open(folder)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	if _, err := statFile(at, name); err != nil {
		return nil, err
	}
	file, err := at.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err == nil {
		_, err = file.Seek(offset, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // the error above says more
		return nil, err
	}
	return file, nil
}

// statFile describes a regular file; nothing else exists.
func statFile(at *os.Root, name string) (fs.FileInfo, error) {
	info, err := at.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	return info, nil
}

// fileReader reads a file through a buffer of its own: a read that never returns
// must not write into the caller's memory.
type fileReader struct {
	// A reader has no context parameter; this is the one of the Get call.
	ctx    context.Context
	bucket *filesystemBucket
	key    string
	file   *os.File
	left   int64 // bytes that may still be read from the file

	memory []byte
	ahead  []byte // of memory, what was read and not yet handed out
	err    error  // what follows it
}

// Read implements io.Reader.
func (r *fileReader) Read(p []byte) (int, error) {
	if len(r.ahead) == 0 && r.err == nil {
		r.fill()
	}
	if len(r.ahead) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

func (r *fileReader) fill() {
	if err := checkContext(r.ctx); err != nil {
		r.err = r.bucket.fail("read object", r.key, err)
		return
	}
	if r.left == 0 {
		r.err = io.EOF
		return
	}
	if r.memory == nil {
		r.memory = make([]byte, readAhead)
	}
	into := r.memory[:min(int64(len(r.memory)), r.left)]
	n, err := patiently(r.bucket.patience, func() (int, error) {
		n, err := r.file.Read(into)
		if n > 0 {
			err = nil // which is said again
		}
		return n, err
	}, nil)
	r.ahead, r.left = into[:n], r.left-int64(n)
	switch {
	case err == io.EOF:
		r.err = io.EOF
	case err != nil:
		r.err = r.bucket.fail("read object", r.key, err)
	}
}

// Close implements io.Closer.
func (r *fileReader) Close() error {
	if errors.Is(r.err, errNoAnswer) {
		return nil // closing would wait for the read
	}
	return r.file.Close()
}

// Stat implements Bucket.
func (b *filesystemBucket) Stat(ctx context.Context, key string) (ObjectInfo, error) {
	folder, name, err := b.split(key)
	if err != nil {
		return ObjectInfo{}, err
	}
	if err := checkContext(ctx); err != nil {
		return ObjectInfo{}, b.fail("look at object", key, err)
	}
	info, err := b.stat(folder, name)
	if err != nil {
		return ObjectInfo{}, b.fail("look at object", key, err)
	}
	return objectInfo(key, info), nil
}

func (b *filesystemBucket) stat(folder, name string) (fs.FileInfo, error) {
	return patiently(b.patience, func() (fs.FileInfo, error) {
		at, err := b.open(folder)
		if err != nil {
			return nil, err
		}
		defer at.Close()
		return statFile(at, name)
	}, nil)
}

// objectInfo makes up a tag: a file is never changed, only replaced, and two of one
// size in one moment are none that anybody reads.
func objectInfo(key string, info fs.FileInfo) ObjectInfo {
	return ObjectInfo{
		Key: key, Size: info.Size(), ModTime: info.ModTime().UTC(),
		ETag: fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size()),
	}
}

// List implements Bucket. What comes or goes meanwhile may or may not be listed.
func (b *filesystemBucket) List(ctx context.Context, prefix string) iter.Seq2[ObjectInfo, error] {
	return func(yield func(ObjectInfo, error) bool) {
		folder, start := path.Split(prefix)
		if folder = strings.TrimSuffix(folder, "/"); folder != "" && checkKey(folder) != nil {
			return // no key starts like that
		}
		b.walk(ctx, folder, start, yield)
	}
}

// walk yields what is in a folder and starts with start. It reports whether to go on.
func (b *filesystemBucket) walk(ctx context.Context, folder, start string, yield func(ObjectInfo, error) bool) bool {
	const op = "list objects in"
	entries, err := b.read(folder)
	if ended := checkContext(ctx); ended != nil {
		err = ended
	}
	if err != nil {
		yield(ObjectInfo{}, b.fail(op, folder, err))
		return false
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !strings.HasPrefix(e.name, start) })
	for some := range slices.Chunk(entries, statsAtOnce) {
		infos, err := b.statAll(folder, some)
		if err != nil {
			yield(ObjectInfo{}, b.fail(op, folder, err))
			return false
		}
		for i, e := range some {
			key, goOn := path.Join(folder, e.name), true
			switch {
			case e.isFolder:
				goOn = b.walk(ctx, key, "", yield)
			case infos[i] != nil:
				goOn = yield(objectInfo(key, infos[i]), nil)
			}
			if !goOn {
				return false
			}
		}
	}
	return true
}

// statsAtOnce is how many files are looked at without another look at their folder.
const statsAtOnce = 500

// statAll describes the files among the entries of a folder; nil for what has been
// deleted since.
func (b *filesystemBucket) statAll(folder string, entries []entry) ([]fs.FileInfo, error) {
	infos, err := patiently(b.patience, func() ([]fs.FileInfo, error) {
		infos := make([]fs.FileInfo, len(entries))
		at, err := b.open(folder)
		if err != nil {
			return infos, err
		}
		defer at.Close()
		for i, e := range entries {
			if e.isFolder {
				continue
			}
			if infos[i], err = statFile(at, e.name); err != nil && !isMissing(err) {
				return nil, err
			}
		}
		return infos, nil
	}, nil)
	if isMissing(err) {
		return infos, nil
	}
	return infos, err
}

// Prefixes implements Bucket.
func (b *filesystemBucket) Prefixes(ctx context.Context, prefix string) ([]string, error) {
	const op = "list folders in"
	folder := strings.TrimSuffix(prefix, "/")
	if folder != "" && checkKey(folder) != nil {
		return nil, nil
	}
	entries, err := b.read(folder)
	if err != nil {
		return nil, b.fail(op, folder, err)
	}
	var names []string
	for _, e := range entries {
		if !e.isFolder {
			continue
		}
		if err := checkContext(ctx); err != nil {
			return nil, b.fail(op, folder, err)
		}
		// A folder without an object exists on the disk only.
		holds, err := b.holdsObject(path.Join(folder, e.name))
		if err != nil {
			return nil, b.fail(op, folder, err)
		}
		if holds {
			names = append(names, e.name)
		}
	}
	if err := checkContext(ctx); err != nil {
		return nil, b.fail(op, folder, err)
	}
	return names, nil
}

func (b *filesystemBucket) holdsObject(folder string) (bool, error) {
	entries, err := b.read(folder)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if !e.isFolder {
			return true, nil
		}
	}
	for _, e := range entries {
		if holds, err := b.holdsObject(path.Join(folder, e.name)); holds || err != nil {
			return holds, err
		}
	}
	return false, nil
}

// Inspect implements Inspector. A file system keeps no older versions and locks
// nothing; its clock can't be asked for.
func (b *filesystemBucket) Inspect(ctx context.Context) (Inspection, error) {
	err := checkContext(ctx)
	if err == nil {
		_, err = b.readAll("")
	}
	if err != nil {
		return Inspection{}, b.fail("look at", "", err)
	}
	return Inspection{
		Endpoint: filepath.Join(b.root, b.base), Versioning: No, Lock: No, LocalTime: time.Now().UTC(),
	}, nil
}

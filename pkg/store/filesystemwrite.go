package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const (
	// writeSize is how much is written at a time, and flushSize after how much the
	// disk is told to keep it: the disk works while more comes, and in the end there
	// is little to wait for.
	writeSize = 1 << 20
	flushSize = 32 << 20
)

// newFile is an object on its way: a file of another name in the object's folder,
// which List doesn't show.
type newFile struct {
	bucket     *filesystemBucket
	at         *os.Root
	file       *os.File
	name, temp string

	flushing chan error // nil while none is under way
	dirty    int        // bytes since the last flush began
}

// Put implements Bucket.
func (b *filesystemBucket) Put(ctx context.Context, key string, r io.Reader) (err error) {
	const op = "write object"
	defer func() {
		if err != nil {
			release(r, err)
		}
	}()
	stop := context.AfterFunc(ctx, func() { release(r, context.Cause(ctx)) })
	defer stop()
	return b.write(ctx, op, key, func(f *newFile) error {
		if err := f.copy(ctx, r); err != nil {
			return err
		}
		stop() // the stream is at its end, and not to be disturbed
		return nil
	}, (*newFile).replace)
}

// Create implements Bucket. It looks first, to write nothing in vain.
func (b *filesystemBucket) Create(ctx context.Context, key string, body []byte) error {
	switch _, err := b.Stat(ctx, key); {
	case err == nil:
		return b.fail("create object", key, fs.ErrExist)
	case !errors.Is(err, ErrNotExist):
		return err
	}
	return b.CreateUnseen(ctx, key, body)
}

// CreateUnseen implements Inspector.
func (b *filesystemBucket) CreateUnseen(ctx context.Context, key string, body []byte) error {
	return b.write(ctx, "create object", key, func(f *newFile) error { return f.write(body) }, (*newFile).create)
}

// write makes an object in three steps: fill writes a new file, whose content is then
// safe on the disk, and publish gives it the object's name.
func (b *filesystemBucket) write(ctx context.Context, op, key string, fill, publish func(*newFile) error) error {
	folder, name, err := b.split(key)
	if err != nil {
		return err
	}
	if err := checkContext(ctx); err != nil {
		return b.fail(op, key, err)
	}
	f, err := patiently(b.flushPatience, func() (*newFile, error) {
		f, err := b.begin(folder, name)
		if err != nil {
			b.prune(folder) // of which some may have been made
		}
		return f, err
	}, (*newFile).abandon)
	if err != nil {
		return b.fail(op, key, err)
	}
	if err := fill(f); err != nil {
		return b.abort(f, folder, b.fail(op, key, err))
	}
	if err := f.finish(); err != nil {
		return b.abort(f, folder, b.fail(op, key, err))
	}
	if err := checkContext(ctx); err != nil {
		return b.abort(f, folder, b.fail(op, key, err))
	}
	_, err = patiently(b.flushPatience, func() (struct{}, error) { return struct{}{}, publish(f) }, nil)
	if err != nil {
		return b.abort(f, folder, b.fail(op, key, err))
	}
	_ = f.at.Close() // it was only read
	return nil
}

// begin opens a new file in the folder, which it makes if need be.
func (b *filesystemBucket) begin(folder, name string) (*newFile, error) {
	const attempts = 100
	for attempt := 1; ; attempt++ {
		at, err := b.ensure(folder)
		if err != nil {
			return nil, err
		}
		f := &newFile{bucket: b, at: at, name: name, temp: tempName(name)}
		if f.file, err = at.OpenFile(f.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode); err == nil {
			return f, nil
		}
		_ = at.Close() // the error above says more
		// Somebody may have removed the folder, which was empty.
		if attempt == attempts || !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// tempName is a name for a file that is to become another.
func tempName(name string) string {
	var random [6]byte
	_, _ = rand.Read(random[:]) // never fails
	start := ".kubectl-velero-" + hex.EncodeToString(random[:]) + "-"
	return start + strings.ToValidUTF8(name[:min(len(name), maxFileName-len(start))], "")
}

// copy writes a stream to its end.
func (f *newFile) copy(ctx context.Context, r io.Reader) error {
	memory := make([]byte, writeSize)
	for {
		n, err := readFull(r, memory)
		if ended := checkContext(ctx); ended != nil {
			return ended
		}
		if err != nil && err != io.EOF {
			return &readError{err}
		}
		if err := f.write(memory[:n]); err != nil || n < len(memory) {
			return err
		}
	}
}

// write adds to the file. The disk gets time for what came before while more comes.
func (f *newFile) write(p []byte) error {
	_, err := patiently(f.bucket.flushPatience, func() (int, error) { return f.file.Write(p) }, nil)
	if err != nil {
		return err
	}
	if f.dirty += len(p); f.dirty < flushSize {
		return nil
	}
	if err := f.flushed(); err != nil {
		return err
	}
	f.dirty, f.flushing = 0, make(chan error, 1)
	go func(done chan<- error) {
		_, err := patiently(f.bucket.flushPatience, func() (struct{}, error) { return struct{}{}, f.file.Sync() }, nil)
		done <- err
	}(f.flushing)
	return nil
}

// flushed waits for the flush that is under way.
func (f *newFile) flushed() error {
	if f.flushing == nil {
		return nil
	}
	err := <-f.flushing
	f.flushing = nil
	return err
}

// finish has the whole content on the disk.
func (f *newFile) finish() error {
	if err := f.flushed(); err != nil {
		return err
	}
	_, err := patiently(f.bucket.flushPatience, func() (struct{}, error) {
		if err := f.file.Sync(); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, f.file.Close()
	}, nil)
	return err
}

// replace gives the file its name, and takes it from whatever had it.
func (f *newFile) replace() error {
	if err := f.at.Rename(f.temp, f.name); err != nil {
		return f.lockedOr(err)
	}
	return syncFolder(f.at)
}

// create gives the file its name, which nobody may have: fs.ErrExist.
func (f *newFile) create() error {
	err := f.bucket.link(f.at, f.temp, f.name)
	switch {
	case errors.Is(err, fs.ErrExist):
		// A file server's answer may have got lost, and the request come again.
		if !f.isLinked() {
			return err
		}
	case isUnsupported(err):
		return f.createWithoutLinks()
	case err != nil:
		return err
	}
	if err := f.at.Remove(f.temp); err != nil && !isMissing(err) {
		return err
	}
	return syncFolder(f.at)
}

// isLinked reports whether the object is the file that was written.
func (f *newFile) isLinked() bool {
	temp, err := f.at.Lstat(f.temp)
	if err != nil {
		return false
	}
	object, err := f.at.Lstat(f.name)
	return err == nil && os.SameFile(temp, object)
}

// createWithoutLinks is for file systems on which a file has one name only. The name
// is taken by an empty file first, which one of several creators makes. (Who looks
// just then sees that; who is killed just then leaves it.)
func (f *newFile) createWithoutLinks() error {
	taken, err := f.at.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	if err := errors.Join(taken.Close(), f.at.Rename(f.temp, f.name)); err != nil {
		_ = f.at.Remove(f.name) // the error above says more
		return err
	}
	return syncFolder(f.at)
}

// lockedOr tells a file that nobody may replace or remove, its owner neither, from
// one that is somebody else's.
func (f *newFile) lockedOr(err error) error { return lockedOr(f.at, f.name, err) }

func lockedOr(at *os.Root, name string, err error) error {
	if !errors.Is(err, syscall.EPERM) {
		return err
	}
	if info, statErr := at.Lstat(name); statErr == nil && info.Mode().IsRegular() && isOurs(info) {
		return errors.Join(ErrLocked, err)
	}
	return err
}

// abort removes what was written, unless the file system doesn't answer, and returns
// why it had to.
func (b *filesystemBucket) abort(f *newFile, folder string, why error) error {
	if errors.Is(why, errNoAnswer) {
		go f.abandon()
		return why
	}
	_ = f.flushed() // its error would be why
	_, err := patiently(b.patience, func() (struct{}, error) {
		f.abandon()
		b.prune(folder)
		return struct{}{}, nil
	}, nil)
	if err != nil {
		return fmt.Errorf("%w (and what was written of it could not be removed: %w)", why, err)
	}
	return why
}

// abandon removes the new file; what can't be removed, AbortUploads finds.
func (f *newFile) abandon() {
	_, _, _ = f.file.Close(), f.at.Remove(f.temp), f.at.Close()
}

// prune removes the folder and those above it so long as they are empty, but not the
// location's own. A writer who has just made one makes it again.
func (b *filesystemBucket) prune(folder string) {
	for folder != "" {
		above, name := path.Split(folder)
		above = strings.TrimSuffix(above, "/")
		if err := b.removeFolder(above, name); err != nil && !isMissing(err) {
			return
		}
		folder = above
	}
}

// removeFolder removes an empty folder. The slash keeps it from removing a file.
func (b *filesystemBucket) removeFolder(above, name string) error {
	at, err := b.open(above)
	if err != nil {
		return err
	}
	defer at.Close()
	return at.Remove(name + "/")
}

// Delete implements Bucket.
func (b *filesystemBucket) Delete(ctx context.Context, keys ...string) error {
	const op = "delete object"
	for _, key := range keys {
		folder, name, err := b.split(key)
		if err != nil {
			return err
		}
		if err := checkContext(ctx); err != nil {
			return b.fail(op, key, err)
		}
		_, err = patiently(b.flushPatience, func() (struct{}, error) {
			return struct{}{}, b.deleteFile(folder, name)
		}, nil)
		if err != nil && (!isMissing(err) || errors.Is(err, errNoRoot)) {
			return b.fail(op, key, err)
		}
	}
	return nil
}

func (b *filesystemBucket) deleteFile(folder, name string) error {
	at, err := b.open(folder)
	if err != nil {
		return err
	}
	defer at.Close()
	if _, err := statFile(at, name); err != nil {
		return err
	}
	if err := at.Remove(name); err != nil {
		return lockedOr(at, name, err)
	}
	if err := syncFolder(at); err != nil {
		return err
	}
	b.prune(folder)
	return nil
}

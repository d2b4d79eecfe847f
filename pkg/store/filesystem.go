package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	// maxFileName is how many bytes a name has at most, on nearly every file system.
	maxFileName = 255
	// folderMode and fileMode let the group in, which is what a volume is given to,
	// and nobody else: backups hold Secrets.
	folderMode = 0o770
	fileMode   = 0o660
)

// filesystemBucket is a folder below a root. Nothing outside of the root is ever
// reached, and inside only what is a folder or a regular file: symbolic links, pipes
// and devices that somebody put there are no objects.
type filesystemBucket struct {
	root string
	// base is the bucket's folder and the prefix's, below root.
	base string

	// link gives a file a second name, unless there is one already.
	link func(folder *os.Root, from, to string) error
	// patience is how long the file system may take for one thing; flushPatience
	// the same for what may have to wait for a disk to write.
	patience, flushPatience time.Duration
}

var (
	_ Inspector     = (*filesystemBucket)(nil)
	_ UploadAborter = (*filesystemBucket)(nil)
)

func openFilesystem(l Location) (Bucket, error) {
	folder, err := settings.ParseFilesystem(l.Config)
	switch {
	case err != nil:
		return nil, err
	case l.Root == "":
		return nil, fmt.Errorf("the volume of claim %q is only mounted in the Jobs that use it; hint: have a Job do this", folder.Claim)
	case !isName(l.Bucket):
		return nil, fmt.Errorf("bucket %q is no name of a folder", l.Bucket)
	}
	return &filesystemBucket{
		root:          l.Root,
		base:          path.Join(l.Bucket, l.Prefix),
		link:          func(folder *os.Root, from, to string) error { return folder.Link(from, to) },
		patience:      requestTimeout,
		flushPatience: 2 * time.Minute,
	}, nil
}

func isName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && isObjectName(name)
}

// split cuts a key into its folder, "" for the location's own, and the name in it.
func (b *filesystemBucket) split(key string) (folder, name string, err error) {
	if err := checkKey(key); err != nil {
		return "", "", err
	}
	for part := range strings.SplitSeq(key, "/") {
		if !isName(part) {
			return "", "", fmt.Errorf("invalid object key %q", key)
		}
		if len(part) > maxFileName {
			return "", "", fmt.Errorf("invalid object key %q: a name of %d bytes, and file systems allow %d; hint: choose a shorter name", key, len(part), maxFileName)
		}
	}
	folder, name = path.Split(key)
	return strings.TrimSuffix(folder, "/"), name, nil
}

// errNoRoot is a volume that isn't there.
var errNoRoot = errors.New("the volume's folder does not exist")

// open opens a folder of the location. The caller closes it. It fails with
// fs.ErrNotExist if there is none.
func (b *filesystemBucket) open(folder string) (*os.Root, error) {
	return b.descend(folder, func(*os.Root, string) error { return nil })
}

// ensure is open for a writer: what is missing is made.
func (b *filesystemBucket) ensure(folder string) (*os.Root, error) {
	// Another writer may remove a folder that we have just made and that is still
	// empty.
	const attempts = 100
	for attempt := 1; ; attempt++ {
		opened, err := b.descend(folder, makeFolder)
		if attempt == attempts || !errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoRoot) {
			return opened, err
		}
	}
}

// descend opens one folder after the other from the root down, calling enter before
// each, and follows no links.
func (b *filesystemBucket) descend(folder string, enter func(parent *os.Root, name string) error) (*os.Root, error) {
	at, err := os.OpenRoot(b.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(errNoRoot, err)
	}
	if err != nil {
		return nil, err
	}
	for name := range strings.SplitSeq(path.Join(b.base, folder), "/") {
		below, err := openFolder(at, name, enter)
		_ = at.Close() // it was only read
		if err != nil {
			return nil, err
		}
		at = below
	}
	return at, nil
}

func openFolder(parent *os.Root, name string, enter func(*os.Root, string) error) (*os.Root, error) {
	if err := enter(parent, name); err != nil {
		return nil, err
	}
	info, err := parent.Lstat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
	}
	return parent.OpenRoot(name)
}

// makeFolder makes a folder that outlives a crash. The mode is set again because a
// process may have been told to give its group less.
func makeFolder(parent *os.Root, name string) error {
	err := parent.Mkdir(name, folderMode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := parent.Lstat(name); err == nil && info.Mode().Perm()&0o070 != 0o070 {
		// Some file systems have no modes.
		_ = parent.Chmod(name, info.Mode()|folderMode)
	}
	return syncFolder(parent)
}

// syncFolder makes the names in a folder outlive a crash, where file systems do that
// on demand.
func syncFolder(folder *os.Root) error {
	f, err := folder.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !isUnsupported(err) {
		return err
	}
	return nil
}

// isUnsupported says that a file system can't do something at all.
func isUnsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EMLINK)
}

// entry is something in a folder: another folder, or an object.
type entry struct {
	name     string
	isFolder bool
}

// sortName is what orders an entry among the keys: of a folder, keys follow with a
// slash.
func (e entry) sortName() string {
	if e.isFolder {
		return e.name + "/"
	}
	return e.name
}

// read lists a folder in order of keys, without what is neither a folder nor an
// object. One that doesn't exist, or no longer, is empty.
func (b *filesystemBucket) read(folder string) ([]entry, error) {
	found, err := b.readAll(folder)
	var kept []entry
	for _, e := range found {
		switch {
		case e.IsDir() && isName(e.Name()):
			kept = append(kept, entry{e.Name(), true})
		case e.Type().IsRegular() && isObjectName(e.Name()):
			kept = append(kept, entry{e.Name(), false})
		}
	}
	slices.SortFunc(kept, func(x, y entry) int { return strings.Compare(x.sortName(), y.sortName()) })
	return kept, err
}

// readAll lists all that is in a folder, in no order.
func (b *filesystemBucket) readAll(folder string) ([]fs.DirEntry, error) {
	found, err := patiently(b.patience, func() ([]fs.DirEntry, error) {
		opened, err := b.open(folder)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		f, err := opened.Open(".")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return f.ReadDir(-1)
	}, nil)
	if errors.Is(err, errNoRoot) || !isMissing(err) {
		return found, err
	}
	return nil, nil
}

// isMissing says that there is nothing of a name, or a file where its folder would
// be.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// errNoAnswer is a call that the kernel doesn't come back from.
var errNoAnswer = errors.New("no answer")

// patiently does what may never return, as on a volume whose server is gone: then the
// thread that waits in the kernel is given up, with whatever it does. drop, which may
// be nil, gets a result that comes too late.
func patiently[T any](limit time.Duration, do func() (T, error), drop func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
	}
	if drop != nil {
		go func() {
			if r := <-done; r.err == nil {
				drop(r.value)
			}
		}()
	}
	var none T
	return none, fmt.Errorf("%w within %s", errNoAnswer, limit)
}

// checkContext says why the caller doesn't want it any more.
func checkContext(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return errors.Join(context.Cause(ctx), ctx.Err())
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// fail makes an error of this package out of one of the file system. op is a verb
// with what it applies to, as in "read object"; key is an object's or a folder's and
// may be empty.
func (b *filesystemBucket) fail(op, key string, err error) error {
	e := &opError{op: b.describe(op, key), cause: err, detail: systemText(err)}
	var stream *readError
	switch {
	case errors.As(err, &stream):
		e.detail = stream.Error()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.detail = strings.Split(err.Error(), "\n")[0]
	case errors.Is(err, ErrLocked):
		e.kind, e.cause, e.detail = nil, &LockedError{Key: key}, "the file has been made immutable"
		e.hint = "whoever administers the volume can take that back (on Linux with `chattr -i`)"
	default:
		b.classify(e)
	}
	return e
}

// describe says what is tried, on what, and where.
func (b *filesystemBucket) describe(op, key string) string {
	where := filepath.Join(b.root, b.base)
	switch {
	case key == "":
		return fmt.Sprintf("%s folder %q", op, where)
	case strings.HasSuffix(op, "object"):
		return fmt.Sprintf("%s %q in folder %q", op, key, where)
	}
	return fmt.Sprintf("%s folder %q", op, path.Join(where, key))
}

// systemText is an error without the path, which the operation names.
func systemText(err error) string {
	var number syscall.Errno
	var onPath *fs.PathError
	var onLink *os.LinkError
	switch {
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &onPath):
		return onPath.Err.Error()
	case errors.As(err, &onLink):
		return onLink.Err.Error()
	}
	return strings.ReplaceAll(err.Error(), "\n", ": ")
}

// classify fills in kind and hint, and words that say more, from e.cause.
func (b *filesystemBucket) classify(e *opError) {
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(e.cause, target) {
				return true
			}
		}
		return false
	}
	switch {
	case is(errNoRoot):
		e.kind, e.detail = ErrNoBucket, fmt.Sprintf("there is no folder %q, where the volume should be mounted", b.root)
		e.hint = "bring the Jobs up to date with backup-location set, or have a Job do this"
	case is(syscall.ENOTDIR, syscall.EISDIR, fs.ErrExist) && strings.HasPrefix(e.op, "write"),
		is(syscall.ENOTDIR) && strings.HasPrefix(e.op, "create"):
		e.detail = "a file system can't have a file and a folder of one name"
	case isMissing(e.cause):
		e.kind, e.detail = ErrNotExist, ""
	case is(fs.ErrExist):
		e.kind, e.detail = ErrExists, ""
	case is(errNoAnswer):
		e.kind, e.hint = ErrUnavailable, "look at the server or disk that the volume is on"
	case is(syscall.ESTALE, syscall.EIO, syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ECONNREFUSED, syscall.ENOTCONN, syscall.ENXIO):
		e.kind, e.hint = ErrUnavailable, "look at the server or disk that the volume is on; the node's kernel log may say more"
	case is(syscall.ENOSPC, syscall.EDQUOT):
		e.detail = "the volume is full (" + e.detail + ")"
		e.hint = "delete backups that nobody needs any more, or make the volume larger"
	case is(syscall.EFBIG):
		e.hint = "files of this size don't fit into the volume's file system; choose another for it"
	case is(syscall.EROFS):
		e.kind, e.hint = ErrDenied, "the volume is mounted read-only: let it be written to, or give the location access mode ReadOnly"
	case is(fs.ErrPermission):
		e.kind, e.hint = ErrDenied, fmt.Sprintf("this runs as user %d with groups %s, which must be able to write there: Kubernetes gives most volumes to the group of the location's config key \"fsGroup\", but not NFS, where the server's folder must be given to that user or group", os.Geteuid(), groups())
	}
}

// groups are those that this process is in.
func groups() string {
	ids, err := os.Getgroups()
	if err != nil {
		return "unknown"
	}
	return strings.Trim(fmt.Sprint(append(ids, os.Getegid())), "[]")
}

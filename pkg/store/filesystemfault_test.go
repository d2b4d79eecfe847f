package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func folderBucket(t *testing.T) *filesystemBucket {
	t.Helper()
	b, err := openFilesystem(Location{Bucket: "bucket", Root: t.TempDir(), Config: map[string]string{"persistentVolumeClaim": "c"}})
	if err != nil {
		t.Fatal(err)
	}
	return b.(*filesystemBucket)
}

// filesIn are the names in the bucket's folder.
func filesIn(t *testing.T, b *filesystemBucket) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(b.root, b.base))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestCreateWithoutLinks is a file system on which a file has one name only.
func TestCreateWithoutLinks(t *testing.T) {
	t.Parallel()
	for name, unsupported := range map[string]error{"EPERM": syscall.EPERM, "ENOTSUP": syscall.ENOTSUP, "ENOSYS": syscall.ENOSYS} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := folderBucket(t)
			b.link = func(_ *os.Root, from, to string) error {
				return &os.LinkError{Op: "link", Old: from, New: to, Err: unsupported}
			}
			var winners atomic.Int32
			var group sync.WaitGroup
			for range 16 {
				group.Go(func() {
					switch err := b.CreateUnseen(t.Context(), "k", []byte("body")); {
					case err == nil:
						winners.Add(1)
					case !errors.Is(err, ErrExists):
						t.Error(err)
					}
				})
			}
			group.Wait()
			got, err := os.ReadFile(filepath.Join(b.root, b.base, "k"))
			if winners.Load() != 1 || string(got) != "body" || err != nil {
				t.Errorf("%d won; %q, %v", winners.Load(), got, err)
			}
			if names := filesIn(t, b); len(names) != 1 {
				t.Errorf("left: %q", names)
			}
		})
	}
}

// TestCreateWithoutLinksFails has the new file go away: the name must not stay taken.
func TestCreateWithoutLinksFails(t *testing.T) {
	t.Parallel()
	b := folderBucket(t)
	b.link = func(folder *os.Root, from, _ string) error { return errors.Join(folder.Remove(from), syscall.EPERM) }
	if err := b.CreateUnseen(t.Context(), "k", []byte("body")); err == nil {
		t.Error("no error")
	}
	if names := filesIn(t, b); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

// TestCreateWhoseAnswerIsLost is a file server that does what it is asked for twice.
func TestCreateWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	b := folderBucket(t)
	b.link = func(folder *os.Root, from, to string) error {
		return errors.Join(folder.Link(from, to), syscall.EEXIST)
	}
	if err := b.CreateUnseen(t.Context(), "k", []byte("first")); err != nil {
		t.Error(err)
	}
	if err := b.CreateUnseen(t.Context(), "k", []byte("second")); !errors.Is(err, ErrExists) {
		t.Errorf("second: %v", err)
	}
	if names := filesIn(t, b); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
}

// TestFilesystemWithoutAnswer is a volume whose server is gone: calls never return.
func TestFilesystemWithoutAnswer(t *testing.T) {
	t.Parallel()
	b := folderBucket(t)
	if err := b.CreateUnseen(t.Context(), "k", []byte("content")); err != nil {
		t.Fatal(err)
	}
	b.patience, b.flushPatience = 50*time.Millisecond, 50*time.Millisecond
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	b.link = func(*os.Root, string, string) error { <-never; return nil }
	begun := time.Now()
	check := func(call string, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnavailable) || !Temporary(err) || !strings.Contains(err.Error(), "no answer within 50ms; hint: ") {
			t.Errorf("%s: %v", call, err)
		}
	}
	check("create", b.CreateUnseen(t.Context(), "new", nil))

	silent, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Close() })
	r := &fileReader{ctx: t.Context(), bucket: b, key: "k", file: silent, left: 10}
	_, err = io.ReadAll(r)
	check("read", err)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestPatientlyDropsWhatComesLate(t *testing.T) {
	t.Parallel()
	late, dropped := make(chan int), make(chan int)
	if _, err := patiently(time.Millisecond, func() (int, error) { return <-late, nil }, func(v int) { dropped <- v }); !errors.Is(err, errNoAnswer) {
		t.Error(err)
	}
	late <- 7
	if got := <-dropped; got != 7 {
		t.Errorf("dropped %d", got)
	}
}

// TestFilesystemErrors says what numbers of the kernel mean.
func TestFilesystemErrors(t *testing.T) {
	t.Parallel()
	b := &filesystemBucket{root: "/storage", base: "bucket"}
	for name, c := range map[string]struct {
		op        string
		err       error
		kind      error
		temporary bool
		want      string
	}{
		"full":       {"write object", syscall.ENOSPC, nil, false, `write object "k" in folder "/storage/bucket": the volume is full (no space left on device); hint: delete backups`},
		"quota":      {"write object", syscall.EDQUOT, nil, false, "the volume is full (disk quota exceeded)"},
		"too large":  {"write object", syscall.EFBIG, nil, false, "file too large; hint: "},
		"read-only":  {"delete object", syscall.EROFS, ErrDenied, false, "mounted read-only"},
		"denied":     {"create object", syscall.EACCES, ErrDenied, false, `"fsGroup"`},
		"not owner":  {"delete object", syscall.EPERM, ErrDenied, false, "operation not permitted; hint: this runs as user"},
		"stale":      {"read object", syscall.ESTALE, ErrUnavailable, true, "stale"},
		"disk":       {"read object", syscall.EIO, ErrUnavailable, true, "input/output error; hint: look at the server or disk"},
		"no answer":  {"read object", errNoAnswer, ErrUnavailable, true, "no answer"},
		"missing":    {"read object", syscall.ENOENT, ErrNotExist, false, "object does not exist"},
		"in a file":  {"read object", syscall.ENOTDIR, ErrNotExist, false, "object does not exist"},
		"exists":     {"create object", syscall.EEXIST, ErrExists, false, "object already exists"},
		"folder":     {"write object", syscall.EISDIR, nil, false, "a file and a folder of one name"},
		"long":       {"read object", syscall.ENAMETOOLONG, nil, false, "file name too long"},
		"immutable":  {"delete object", errors.Join(ErrLocked, syscall.EPERM), ErrLocked, false, "immutable; hint: "},
		"stream":     {"write object", &readError{io.ErrUnexpectedEOF}, io.ErrUnexpectedEOF, false, "read what is to be written: unexpected EOF"},
		"not wanted": {"write object", errors.Join(context.Canceled, context.Canceled), context.Canceled, false, `"/storage/bucket": context canceled`},
		"deadline":   {"write object", context.DeadlineExceeded, context.DeadlineExceeded, false, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.err
			if _, ok := err.(syscall.Errno); ok {
				err = &fs.PathError{Op: "x", Path: "/secret/path", Err: err}
			}
			got := b.fail(c.op, "k", err)
			if !strings.Contains(got.Error(), c.want) || strings.ContainsAny(got.Error(), "\n") || strings.Contains(got.Error(), "/secret/path") {
				t.Errorf("%v", got)
			}
			if c.kind != nil && !errors.Is(got, c.kind) || Temporary(got) != c.temporary {
				t.Errorf("%v is not %v, or temporary is %v", got, c.kind, Temporary(got))
			}
		})
	}
}

// TestPutTellsThePipe has the disk fail while somebody writes into the other end.
func TestPutTellsThePipe(t *testing.T) {
	t.Parallel()
	b := folderBucket(t)
	if err := b.CreateUnseen(t.Context(), "file", nil); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, bytes.NewReader(make([]byte, 1<<20)))
		written <- err
	}()
	err := b.Put(t.Context(), "file/below", r)
	if err == nil {
		t.Fatal("no error")
	}
	if got := <-written; !errors.Is(got, err) {
		t.Errorf("the writer got %v, want %v", got, err)
	}
}

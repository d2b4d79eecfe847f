package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
)

// executorUser is the user of the executor image.
const executorUser = 65532

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this needs root")
	}
}

// folderVariable tells a test that it was started by another one, with which root
// folder.
const folderVariable = "STORE_TEST_FOLDER"

// again is a command that runs one test of this program again, as another user if
// that isn't 0, on a folder.
func again(t *testing.T, test, folder string, user uint32, groups ...uint32) *exec.Cmd {
	t.Helper()
	program := filepath.Join(openTempDir(t), "test")
	body, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, body, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = []string{folderVariable + "=" + folder}
	if user != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, Groups: groups}}
	}
	return cmd
}

// openTempDir is a folder that every user can reach.
func openTempDir(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

// TestAsExecutor runs a part of the suite as the executor's user, in a volume that
// belongs to its group as the kubelet leaves it.
func TestAsExecutor(t *testing.T) {
	if folder := os.Getenv(folderVariable); folder != "" {
		b := openFolder(t, folderAt(folder, "pre/fix"))
		storetest.Writes(t, b, mebibyte)
		if err := b.Delete(t.Context(), storetest.Keys(t, b, "")...); err != nil {
			t.Error(err)
		}
		storetest.CheckNothingLeft(t, b)
		if err := b.Create(t.Context(), "backups/shop/claim", nil); err != nil {
			t.Error(err)
		}
		return
	}
	t.Parallel()
	needRoot(t)
	const group = 12345
	folder := openTempDir(t)
	if err := errors.Join(os.Chown(folder, 0, group), os.Chmod(folder, 0o770|os.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	// The second user is what another installation may run as.
	for _, user := range []uint32{executorUser, 1000660000} {
		if out, err := again(t, "TestAsExecutor", folder, user, group).CombinedOutput(); err != nil {
			t.Fatalf("as user %d: %v\n%s", user, err, out)
		}
		// What one left, the other must be able to remove.
		if err := os.Rename(filepath.Join(folder, "bucket/pre/fix/backups/shop/claim"), filepath.Join(folder, "bucket/pre/fix/backups/shop/"+fmt.Sprint(user))); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(folder, "bucket/pre/fix/backups/shop"))
	if err != nil || info.Sys().(*syscall.Stat_t).Gid != group || info.Mode()&os.ModeSetgid == 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestDenied is a volume that the executor's user may not write to, or read.
func TestDenied(t *testing.T) {
	if folder := os.Getenv(folderVariable); folder != "" {
		testDenied(t, folder)
		return
	}
	t.Parallel()
	needRoot(t)
	folder := openTempDir(t)
	writeFile(t, filepath.Join(folder, "bucket/backups/k"), "x")
	writeFile(t, filepath.Join(folder, "bucket/closed/k"), "x")
	writeFile(t, filepath.Join(folder, "bucket/unreadable"), "x")
	if err := errors.Join(os.Chmod(filepath.Join(folder, "bucket/closed"), 0o700), os.Chmod(filepath.Join(folder, "bucket/unreadable"), 0)); err != nil {
		t.Fatal(err)
	}
	if out, err := again(t, "TestDenied", folder, executorUser).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func testDenied(t *testing.T, folder string) {
	b := openFolder(t, folderAt(folder, ""))
	if got := storetest.Keys(t, b, "backups/"); len(got) != 1 {
		t.Errorf("keys %q", got)
	}
	_, getErr := b.Get(t.Context(), "unreadable")
	_, statErr := b.Stat(t.Context(), "closed/k")
	errs := []error{
		getErr, statErr,
		b.Put(t.Context(), "k", strings.NewReader("x")), b.Put(t.Context(), "backups/k", strings.NewReader("x")),
		b.Put(t.Context(), "closed/new", strings.NewReader("x")), b.Create(t.Context(), "new/k", nil), b.Delete(t.Context(), "backups/k"),
	}
	for _, err := range b.List(t.Context(), "closed/") {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, store.ErrDenied) || store.Temporary(err) || !strings.Contains(err.Error(), "user 65532 with groups 65532") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	storetest.CheckContent(t, b, "backups/k", []byte("x"))
}

// mount mounts a file system in memory of some MiB, with further options.
func mount(t *testing.T, folder string, size int, options string) {
	t.Helper()
	needRoot(t)
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%dm,%s", size, options)); err != nil {
		t.Skipf("this machine doesn't let us mount: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestFullVolume has a volume without room for what is written, by bytes and by
// number.
func TestFullVolume(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mount(t, root, 8, "nr_inodes=20")
	b := openFolder(t, folderAt(root, ""))
	storetest.Put(t, b, "backups/a/old", storetest.Content(4*mebibyte))
	check := func(call string, err error) {
		t.Helper()
		if err == nil || !errors.Is(err, syscall.ENOSPC) || store.Temporary(err) || !strings.Contains(err.Error(), "the volume is full (no space left on device); hint: ") {
			t.Errorf("%s: %v", call, err)
		}
		if diff := cmp.Diff([]string{"bucket/", "bucket/backups/", "bucket/backups/a/", "bucket/backups/a/old"}, tree(t, root)); diff != "" {
			t.Errorf("%s left: %s", call, diff)
		}
		storetest.CheckContent(t, b, "backups/a/old", storetest.Content(4*mebibyte))
	}
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		_, err := w.Write(storetest.Content(40 * mebibyte))
		written <- err
	}()
	check("put", b.Put(t.Context(), "backups/b/new", r))
	if err := <-written; !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the writer got %v", err)
	}
	check("replace", b.Put(t.Context(), "backups/a/old", strings.NewReader(string(storetest.Content(6*mebibyte)))))
	check("create", b.Create(t.Context(), "backups/b/new", storetest.Content(6*mebibyte)))
	// No room for another name.
	check("deep", b.Create(t.Context(), strings.Repeat("d/", 20)+"k", nil))
	storetest.Put(t, b, "backups/b/new", storetest.Content(2*mebibyte))
}

func TestReadOnlyVolume(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	mount(t, root, 4, "")
	b := openFolder(t, folderAt(root, ""))
	storetest.Put(t, b, "backups/a/k", []byte("x"))
	if err := syscall.Mount("", root, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	storetest.CheckContent(t, b, "backups/a/k", []byte("x"))
	if names, err := b.Prefixes(t.Context(), "backups"); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	if n, err := b.(store.UploadAborter).AbortUploads(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for i, err := range []error{
		b.Put(t.Context(), "backups/a/k", strings.NewReader("y")), b.Create(t.Context(), "x", nil), b.Delete(t.Context(), "backups/a/k"),
	} {
		if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "mounted read-only") {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

// TestKilledWriter has a process killed while it writes an object: nothing of it is
// seen, and maintenance finds what it left.
func TestKilledWriter(t *testing.T) {
	const key = "backups/shop/shop.tar.gz"
	if folder := os.Getenv(folderVariable); folder != "" {
		b := openFolder(t, folderAt(folder, ""))
		_ = b.Put(t.Context(), key, endless{})
		return
	}
	t.Parallel()
	root := openTempDir(t)
	b := openFolder(t, folderAt(root, ""))
	storetest.Put(t, b, "backups/other/k", []byte("x"))
	cmd := again(t, "TestKilledWriter", root, 0)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForSize(t, filepath.Join(root, "bucket/backups/shop"), 50*mebibyte)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if diff := cmp.Diff([]string{"backups/other/k"}, storetest.Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	if names, err := b.Prefixes(t.Context(), "backups"); err != nil || len(names) != 1 || names[0] != "other" {
		t.Errorf("prefixes %q, %v", names, err)
	}
	pending := b.(interface {
		PendingUploads(ctx context.Context, prefix string) (int, time.Time, error)
	})
	if n, oldest, err := pending.PendingUploads(t.Context(), "backups/shop/"); n != 1 || time.Since(oldest).Abs() > time.Minute || err != nil {
		t.Errorf("%d pending, the oldest of %s, %v", n, oldest, err)
	}
	aborter := b.(store.UploadAborter)
	for _, step := range []struct {
		prefix string
		want   int
	}{{"backups/sho/", 0}, {"backups/shop/shop.tar.gz2", 0}, {key, 1}, {"", 0}} {
		if n, err := aborter.AbortUploads(t.Context(), step.prefix); n != step.want || err != nil {
			t.Errorf("below %q: %d, %v", step.prefix, n, err)
		}
	}
	if diff := cmp.Diff([]string{"bucket/", "bucket/backups/", "bucket/backups/other/", "bucket/backups/other/k"}, tree(t, root)); diff != "" {
		t.Error(diff)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func waitForSize(t *testing.T, folder string, size int64) {
	t.Helper()
	for range 1000 {
		entries, _ := os.ReadDir(folder) // it may not be there yet
		for _, e := range entries {
			if info, err := e.Info(); err == nil && info.Size() >= size {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nothing was written")
}

// TestImmutableFiles protects objects as `chattr +i` does.
func TestImmutableFiles(t *testing.T) {
	t.Parallel()
	needRoot(t)
	root := t.TempDir()
	b := openFolder(t, folderAt(root, ""))
	for _, key := range []string{"backups/a/k", "backups/a/free"} {
		storetest.Put(t, b, key, []byte("kept"))
	}
	setImmutable(t, filepath.Join(root, "bucket/backups/a/k"), true)
	t.Cleanup(func() { setImmutable(t, filepath.Join(root, "bucket/backups/a/k"), false) })
	for call, err := range map[string]error{
		"delete": b.Delete(t.Context(), "backups/a/k"), "put": b.Put(t.Context(), "backups/a/k", strings.NewReader("new")),
	} {
		var locked *store.LockedError
		if !errors.As(err, &locked) || !errors.Is(err, store.ErrLocked) || locked.Key != "backups/a/k" {
			t.Errorf("%s: %v", call, err)
		}
	}
	storetest.CheckContent(t, b, "backups/a/k", []byte("kept"))
	if err := b.Delete(t.Context(), "backups/a/free"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"backups/a/k"}, storetest.Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
}

// setImmutable sets or takes away the attribute i of a file.
func setImmutable(t *testing.T, path string, on bool) {
	t.Helper()
	const getFlags, setFlags, immutable = 0x80086601, 0x40086602, 0x10 // linux/fs.h
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var flags int
	ioctl := func(request uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&flags))); errno != 0 {
			t.Skipf("this file system has no such attribute: %v", errno)
		}
	}
	ioctl(getFlags)
	if flags |= immutable; !on {
		flags &^= immutable
	}
	ioctl(setFlags)
}

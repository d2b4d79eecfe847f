package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
)

const mebibyte = 1 << 20

// folderAt is a location of provider filesystem below root.
func folderAt(root, prefix string) store.Location {
	return store.Location{
		Provider: "filesystem", Bucket: "bucket", Prefix: prefix, Root: root,
		Config: map[string]string{"persistentVolumeClaim": "backups"},
	}
}

func openFolder(t *testing.T, l store.Location) store.Bucket {
	t.Helper()
	b, err := store.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformanceFilesystem(t *testing.T) {
	t.Parallel()
	storetest.Run(t, filesystemProvider())
}

func filesystemProvider() storetest.Provider {
	return storetest.Provider{
		PartSize: mebibyte,
		Open: func(t *testing.T, prefix string) store.Bucket {
			return openFolder(t, folderAt(t.TempDir(), prefix))
		},
		Unfinished: func(t *testing.T) (store.Bucket, func(*testing.T, string)) {
			root := t.TempDir()
			return openFolder(t, folderAt(root, "pre/fix")), func(t *testing.T, key string) {
				path := filepath.Join(root, "bucket/pre/fix", filepath.FromSlash(key))
				folder, name := filepath.Split(path)
				writeFile(t, filepath.Join(folder, ".kubectl-velero-0123456789ab-"+name), "half")
			}
		},
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFilesystemLayout has a folder look like a bucket does in any browser.
func TestFilesystemLayout(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	b := openFolder(t, folderAt(root, "/clusters/one/"))
	storetest.Put(t, b, "backups/shop/velero-backup.json", []byte("{}"))
	if err := b.Create(t.Context(), "backups/shop/shop-claim.json", nil); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bucket/", "bucket/clusters/", "bucket/clusters/one/", "bucket/clusters/one/backups/", "bucket/clusters/one/backups/shop/",
		"bucket/clusters/one/backups/shop/shop-claim.json", "bucket/clusters/one/backups/shop/velero-backup.json",
	}
	if diff := cmp.Diff(want, tree(t, root)); diff != "" {
		t.Error(diff)
	}
	if err := b.Delete(t.Context(), "backups/shop/velero-backup.json", "backups/shop/shop-claim.json"); err != nil {
		t.Fatal(err)
	}
	// The location's own folder stays.
	if diff := cmp.Diff(want[:3], tree(t, root)); diff != "" {
		t.Errorf("after delete: %s", diff)
	}
}

// tree lists what is below a folder, folders with a slash.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		if d.IsDir() {
			name += "/"
		}
		all = append(all, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFilesystemIsForItsGroup keeps backups, which hold Secrets, from everybody else,
// whatever the umask.
func TestFilesystemIsForItsGroup(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	storetest.Put(t, openFolder(t, folderAt(root, "")), "backups/shop/x", nil)
	for path, want := range map[string]fs.FileMode{"bucket": 0o770, "bucket/backups/shop": 0o770, "bucket/backups/shop/x": 0o640} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got&want != want || got&0o007 != 0 {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestOpenFilesystemRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*store.Location)
		want   string
	}{
		"no claim":    {func(l *store.Location) { l.Config = nil }, `config key "persistentVolumeClaim" is missing`},
		"unknown key": {func(l *store.Location) { l.Config["region"] = "x" }, `unknown config key "region"`},
		"no root":     {func(l *store.Location) { l.Root = "" }, `only mounted in the Jobs`},
		"no bucket":   {func(l *store.Location) { l.Bucket = "" }, `names no bucket`},
		"up":          {func(l *store.Location) { l.Bucket = ".." }, `bucket ".." is no name of a folder`},
		"here":        {func(l *store.Location) { l.Bucket = "." }, `is no name of a folder`},
		"prefix up":   {func(l *store.Location) { l.Prefix = "../x" }, `invalid prefix`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := folderAt(t.TempDir(), "")
			c.change(&l)
			if _, err := store.Open(t.Context(), l); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestFilesystemNotThere is a volume that isn't mounted, and one that nothing was ever
// written to.
func TestFilesystemNotThere(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "storage")
	b := openFolder(t, folderAt(root, ""))
	_, statErr := b.Stat(t.Context(), "k")
	_, prefixErr := b.Prefixes(t.Context(), "")
	_, inspectErr := b.(store.Inspector).Inspect(t.Context())
	errs := []error{statErr, prefixErr, inspectErr, b.Put(t.Context(), "k", strings.NewReader("")), b.Create(t.Context(), "k", nil), b.Delete(t.Context(), "k")}
	for _, err := range b.List(t.Context(), "") {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, store.ErrNoBucket) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if _, err := os.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it made the folder where the volume should be: %v", err)
	}

	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.(store.Inspector).Inspect(t.Context()); err != nil {
		t.Error(err)
	}
	storetest.CheckNothingLeft(t, b)
}

// TestFilesystemHostile has a folder with what others may put there.
func TestFilesystemHostile(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(outside, "secret/x"), "secret")
	bucket := filepath.Join(root, "bucket")
	writeFile(t, filepath.Join(bucket, "backups/good/x"), "good")
	writeFile(t, filepath.Join(root, "other/x"), "another bucket's")
	writeFile(t, filepath.Join(bucket, ".nfs000000000123456700000001"), "deleted while open")
	for link, target := range map[string]string{
		"backups/file": filepath.Join(outside, "secret/x"), "backups/folder": filepath.Join(outside, "secret"),
		"backups/up": "../../other", "backups/inside": "good", "backups/insidefile": "good/x", "backups/loop": "loop", "backups/dangling": "nothing",
	} {
		if err := os.Symlink(target, filepath.Join(bucket, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(bucket, "backups/pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	b := openFolder(t, folderAt(root, ""))
	if diff := cmp.Diff([]string{"backups/good/x"}, storetest.Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	if names, err := b.Prefixes(t.Context(), "backups"); err != nil || len(names) != 1 || names[0] != "good" {
		t.Errorf("prefixes %q, %v", names, err)
	}
	for _, key := range []string{
		"backups/file", "backups/folder/x", "backups/up/x", "backups/inside/x", "backups/insidefile",
		"backups/loop", "backups/dangling", "backups/pipe", "backups/pipe/x", "backups/loop/x",
	} {
		_, getErr := b.Get(t.Context(), key)
		_, statErr := b.Stat(t.Context(), key)
		if !errors.Is(getErr, store.ErrNotExist) || !errors.Is(statErr, store.ErrNotExist) {
			t.Errorf("%s: get %v, stat %v", key, getErr, statErr)
		}
		if err := b.Delete(t.Context(), key); err != nil {
			t.Errorf("delete %s: %v", key, err)
		}
	}
	for _, key := range []string{"backups/folder/x", "backups/up/y", "backups/inside/y"} {
		if err := b.Put(t.Context(), key, strings.NewReader("")); err == nil {
			t.Errorf("put %s: no error", key)
		}
		if err := b.Create(t.Context(), key, nil); err == nil {
			t.Errorf("create %s: no error", key)
		}
	}
	// A link in an object's place gives way, and what it points to doesn't change.
	storetest.Put(t, b, "backups/file", []byte("new"))
	storetest.CheckContent(t, b, "backups/file", []byte("new"))
	if err := b.Create(t.Context(), "backups/dangling", nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("create in place of a link: %v", err)
	}
	for path, want := range map[string]string{
		filepath.Join(outside, "secret/x"): "secret", filepath.Join(root, "other/x"): "another bucket's", filepath.Join(bucket, "backups/good/x"): "good",
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if diff := cmp.Diff([]string{"secret/", "secret/x"}, tree(t, outside)); diff != "" {
		t.Error(diff)
	}
}

// TestFilesystemNames are objects that a file system can't have.
func TestFilesystemNames(t *testing.T) {
	t.Parallel()
	b := openFolder(t, folderAt(t.TempDir(), ""))
	storetest.Put(t, b, "dir/k", []byte("k"))
	for key, want := range map[string]string{
		"dir":                                   "can't have a file and a folder of one name",
		"dir/k/x":                               "can't have a file and a folder of one name",
		"dir/":                                  "invalid object key",
		"a\x00b":                                "invalid object key",
		"x/.kubectl-velero-0123456789ab-x":      "invalid object key",
		"x/" + strings.Repeat("long", 64):       "a name of 256 bytes, and file systems allow 255; hint:",
		strings.Repeat("long", 64) + "/x":       "a name of 256 bytes",
		".kubectl-velero-0123456789ab-folder/x": "invalid object key",
	} {
		if err := b.Put(t.Context(), key, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("put %q: got %v, want %q", key, err, want)
		}
		if key == "dir" {
			continue // whatever has the name, it is taken
		}
		if err := b.Create(t.Context(), key, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("create %q: got %v, want %q", key, err, want)
		}
	}
	if diff := cmp.Diff([]string{"dir/k"}, storetest.Keys(t, b, "")); diff != "" {
		t.Error(diff)
	}
	longest := strings.Repeat("l", 255)
	storetest.Put(t, b, longest+"/"+longest, []byte("x"))
	storetest.CheckContent(t, b, longest+"/"+longest, []byte("x"))
	if err := b.Delete(t.Context(), longest+"/"+longest, "dir/k"); err != nil {
		t.Error(err)
	}
	storetest.CheckNothingLeft(t, b)
}

// TestFilesystemPrunesBesideWriters has writers and deleters of one folder, which
// comes and goes.
func TestFilesystemPrunesBesideWriters(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	b := openFolder(t, folderAt(root, ""))
	var group errgroup.Group
	for writer := range 8 {
		group.Go(func() error {
			for i := range 60 {
				key := fmt.Sprintf("backups/deep/er/%d", writer)
				body := fmt.Append(nil, i)
				if err := b.Put(t.Context(), key, bytes.NewReader(body)); err != nil {
					return err
				}
				r, err := b.Get(t.Context(), key)
				if err != nil {
					return err
				}
				got, err := io.ReadAll(r)
				if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, body) {
					return fmt.Errorf("%s: %q, %w", key, got, err)
				}
				if err := b.Delete(t.Context(), key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"bucket/"}, tree(t, root)); diff != "" {
		t.Error(diff)
	}
}

// TestFilesystemLargeObject is longer than what is flushed at a time.
func TestFilesystemLargeObject(t *testing.T) {
	t.Parallel()
	b := openFolder(t, folderAt(t.TempDir(), ""))
	want := storetest.Content(70*mebibyte + 3)
	storetest.Put(t, b, "k", want)
	storetest.CheckContent(t, b, "k", want)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := b.Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("a read after the end of its context: %v", err)
	}
}

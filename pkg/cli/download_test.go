package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
)

// flaky serves one archive, and breaks connections.
type flaky struct {
	body   []byte
	etag   string
	sums   string // the checksums object; empty when there is none
	breaks []int  // after how many bytes each connection breaks; none left: it holds
	asked  []int64
	during func() // called in each request
}

func (f *flaky) Stat(_ context.Context, key string) (reader.Info, error) {
	if key != "backups/b/b.tar.gz" || f.body == nil {
		return reader.Info{}, fmt.Errorf("look at %q: %w", key, reader.ErrNotExist)
	}
	return reader.Info{Size: int64(len(f.body)), ETag: f.etag}, nil
}

var errCut = errors.New("connection reset")

func (f *flaky) GetPart(ctx context.Context, key string, part reader.Part) (*reader.Object, error) {
	if strings.HasSuffix(key, "-checksums.json") {
		if f.sums == "" {
			return nil, reader.ErrNotExist
		}
		return &reader.Object{ReadCloser: io.NopCloser(strings.NewReader(f.sums))}, nil
	}
	f.asked = append(f.asked, part.Offset)
	if f.during != nil {
		f.during()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if part.ETag != f.etag {
		part.Offset = 0
	}
	var rest io.Reader = bytes.NewReader(f.body[part.Offset:])
	if len(f.breaks) > 0 {
		rest = io.MultiReader(io.LimitReader(rest, int64(f.breaks[0])), failingReader{})
		f.breaks = f.breaks[1:]
	}
	return &reader.Object{ReadCloser: io.NopCloser(rest), Offset: part.Offset}, nil
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errCut }

func newFlaky() *flaky {
	return &flaky{body: bytes.Repeat([]byte("0123456789"), 100), etag: `"1"`}
}

func (f *flaky) seal() *flaky {
	sum := sha256.Sum256(f.body)
	f.sums = fmt.Sprintf(`{"objects":{"b.tar.gz":{"size":%d,"sha256":%q}}}`, len(f.body), hex.EncodeToString(sum[:]))
	return f
}

func (f *flaky) download(ctx context.Context, path string, force bool) error {
	d := &download{bucket: f, backup: "b", path: path, force: force, moved: func() {}, show: func(int64, int64) {}, tell: io.Discard}
	return d.run(ctx)
}

// left is what stands in the folder.
func left(t *testing.T, path string) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %d %o", e.Name(), info.Size(), info.Mode().Perm()))
	}
	return strings.Join(names, ", ")
}

func TestDownload(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		bucket *flaky
		asked  []int64
	}{
		"at once":          {newFlaky().seal(), []int64{0}},
		"without checksum": {newFlaky(), []int64{0}},
		"broken twice":     {func() *flaky { f := newFlaky().seal(); f.breaks = []int{300, 0, 450}; return f }(), []int64{0, 300, 300, 750}},
		"empty":            {(&flaky{body: []byte{}, etag: "x"}).seal(), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "b.tar.gz")
			if err := c.bucket.download(t.Context(), path, false); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, c.bucket.body) || fmt.Sprint(c.bucket.asked) != fmt.Sprint(c.asked) {
				t.Errorf("%d bytes, %v, asked at %v", len(got), err, c.bucket.asked)
			}
			if want := fmt.Sprintf("b.tar.gz %d 600", len(got)); left(t, path) != want {
				t.Errorf("left: %s", left(t, path))
			}
		})
	}
}

// TestDownloadGoesOnLater breaks off for good, and is called again.
func TestDownloadGoesOnLater(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f := newFlaky().seal()
	f.breaks = []int{600, 0, 0, 0, 0, 0}
	err := f.download(t.Context(), path, false)
	if !errors.Is(err, errCut) || !strings.Contains(err.Error(), "goes on with the 600 of 1000 bytes") {
		t.Fatalf("%v", err)
	}
	if got := left(t, path); !strings.HasPrefix(got, "b.tar.gz.partial 600 600, b.tar.gz.partial.json") {
		t.Errorf("left: %s", got)
	}
	f.breaks, f.asked = nil, nil
	if err := f.download(t.Context(), path, false); err != nil || fmt.Sprint(f.asked) != "[600]" {
		t.Errorf("%v, asked at %v", err, f.asked)
	}
	if got := left(t, path); got != "b.tar.gz 1000 600" {
		t.Errorf("left: %s", got)
	}
}

// TestDownloadOfAnother never mixes two contents.
func TestDownloadOfAnother(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f := newFlaky()
	f.breaks = []int{600, 0, 0, 0, 0, 0}
	if err := f.download(t.Context(), path, false); err == nil {
		t.Fatal("no error")
	}
	other := &flaky{body: bytes.Repeat([]byte("x"), 900), etag: `"2"`}
	if err := other.seal().download(t.Context(), path, false); err != nil || fmt.Sprint(other.asked) != "[0]" {
		t.Fatalf("%v, asked at %v", err, other.asked)
	}
	// One that changes during the transfer.
	path = filepath.Join(t.TempDir(), "b.tar.gz")
	changing := newFlaky()
	changing.breaks = []int{600}
	changing.during = func() {
		if len(changing.asked) == 2 {
			changing.etag = `"3"`
		}
	}
	if err := changing.download(t.Context(), path, false); !errors.Is(err, errChanged) {
		t.Errorf("%v", err)
	}
}

func TestDownloadWithoutETagIsNotResumed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f := newFlaky()
	f.etag, f.breaks = "", []int{600, 0, 0, 0, 0, 0}
	if err := f.download(t.Context(), path, false); err == nil || left(t, path) != "" {
		t.Errorf("%v, left: %s", err, left(t, path))
	}
}

func TestDownloadChecks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f := newFlaky().seal()
	f.body[500] ^= 1
	if err := f.download(t.Context(), path, false); err == nil || !strings.Contains(err.Error(), "what came isn't what was backed up") || left(t, path) != "" {
		t.Errorf("%v, left: %s", err, left(t, path))
	}
	if err := (&flaky{}).download(t.Context(), path, false); err == nil || !strings.Contains(err.Error(), "has no archive") {
		t.Errorf("%v", err)
	}
}

func TestDownloadReplacesOnlyWithForce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	f := newFlaky()
	f.during = func() { // somebody else makes the file in the meantime
		if err := os.WriteFile(path, []byte("precious"), 0o644); err != nil {
			t.Error(err)
		}
	}
	err := f.download(t.Context(), path, false)
	if got, _ := os.ReadFile(path); err == nil || string(got) != "precious" {
		t.Errorf("%v, %q", err, got)
	}
	if err := (&downloadFlags{}).mayWrite(path); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("%v", err)
	}
	if err := f.download(t.Context(), path, true); err != nil || left(t, path) != "b.tar.gz 1000 600" {
		t.Errorf("%v, left: %s", err, left(t, path))
	}
}

// TestDownloadStopped: Ctrl-C leaves what came, and says so.
func TestDownloadStopped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "b.tar.gz")
	ctx, cancel := context.WithCancel(t.Context())
	f := newFlaky()
	f.breaks = []int{600}
	f.during = func() {
		if len(f.asked) == 2 {
			cancel()
		}
	}
	err := f.download(ctx, path, false)
	if ExitCode(err) != exitCancelled || !strings.Contains(err.Error(), "600 of 1000 bytes that "+path+".partial has") {
		t.Errorf("%v", err)
	}
}

func TestStalled(t *testing.T) {
	t.Parallel()
	ctx, moved, stop := untilStalled(t.Context(), 20*time.Millisecond)
	defer stop()
	for range 5 {
		time.Sleep(5 * time.Millisecond)
		moved()
	}
	<-ctx.Done()
	err := whyStopped(ctx, fmt.Errorf("read: %w", ctx.Err()))
	if ExitCode(err) != exitCancelled || !strings.Contains(err.Error(), "nothing came for 20ms") {
		t.Errorf("%v", err)
	}
	ctx, moved, stop = untilStalled(t.Context(), 0)
	moved()
	stop()
	if err := whyStopped(ctx, errCut); !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
}

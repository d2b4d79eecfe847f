package archive_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// fixtures is what Velero 1.18.0 wrote.
const fixtures = "../../testdata/fixtures/velero-1.18.0"

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, name, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// entry is one entry of a tar. Its size is that of the body.
type entry struct {
	header tar.Header
	body   string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, body}
}

// tarOf is a whole tar with the entries.
func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for _, e := range entries {
		e.header.Size = int64(len(e.body))
		if err := tw.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zip compresses with the standard library.
func zip(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := stdgzip.NewWriter(&out)
	if _, err := gz.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// pack is an archive with the entries.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	return zip(t, tarOf(t, entries...))
}

// reading is what a reader made of an archive.
type reading struct {
	// items are the objects in order, with their bodies.
	items []string
	// refused are the paths of bad entries.
	refused []string
	ignored int
	// err is what ended it; nil at the end of a whole archive.
	err error
}

// readAll reads until the end, and fails the test for an item that isn't safe.
func readAll(t testing.TB, r io.Reader) reading {
	t.Helper()
	reader, err := archive.NewReader(r)
	if err != nil {
		return reading{err: err}
	}
	var got reading
	for {
		item, err := reader.Next()
		var refused *archive.ItemError
		switch {
		case err == io.EOF: //nolint:errorlint // the end itself, not something that wraps it
			got.ignored = reader.Ignored()
			return got
		case errors.As(err, &refused):
			got.refused = append(got.refused, refused.Path)
		case err != nil:
			got.err = err
			return got
		default:
			checkSafe(t, item)
			got.items = append(got.items, key(item)+" "+string(item.Body))
		}
	}
}

func checkSafe(t testing.TB, item archive.Item) {
	t.Helper()
	for _, name := range []string{item.Name, item.Namespace} {
		if strings.ContainsAny(name, "/\\\x00") || name == ".." || name == "." {
			t.Fatalf("unsafe item %s %q/%q", item.Resource, item.Namespace, item.Name)
		}
	}
	if item.Name == "" || item.Resource.Resource == "" {
		t.Fatalf("item without name: %+v", item)
	}
}

// Whatever its length, a part of an archive isn't taken for the whole; and what
// was read of it is the beginning of the whole.
func TestArchiveCutAtAnyByte(t *testing.T) {
	t.Parallel()
	ours, index := writeIndexed(t,
		item("customresourcedefinitions.apiextensions.k8s.io", "v1", "", "gears.example.com", `{"a":1}`),
		item("secrets", "v1", "shop", "a", `{"b":"`+strings.Repeat("xy", 300)+`"}`),
		item("secrets", "v1", "shop", "b", `{}`),
		item("pods", "v1", "shop", "c", `{"c":3}`),
		item("deployments.apps", "v1", "shop", "d", ""))
	if len(index.Members) < 6 {
		t.Fatalf("%d members: too few for the test", len(index.Members))
	}
	velero := fixture(t, "shop")
	for name, tc := range map[string]struct {
		data []byte
		step int
	}{"every byte of ours": {ours, 1}, "some of Velero's": {velero, 97}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := readAll(t, bytes.NewReader(tc.data))
			if whole.err != nil || len(whole.items) < 5 {
				t.Fatalf("whole: %d items, %v", len(whole.items), whole.err)
			}
			for size := 0; size < len(tc.data); size += tc.step {
				checkCut(t, whole, tc.data[:size])
			}
			for left := 1; left < 64; left++ {
				checkCut(t, whole, tc.data[:len(tc.data)-left])
			}
		})
	}
	t.Run("between members", func(t *testing.T) {
		t.Parallel()
		whole := readAll(t, bytes.NewReader(ours))
		for _, m := range index.Members {
			for _, at := range []int64{m.Offset - 1, m.Offset, m.Offset + 1} {
				if at >= 0 {
					checkCut(t, whole, ours[:at])
				}
			}
		}
	})
}

func checkCut(t *testing.T, whole reading, part []byte) {
	t.Helper()
	got := readAll(t, bytes.NewReader(part))
	if got.err == nil {
		t.Errorf("the first %d bytes are read as a whole archive", len(part))
	}
	if errors.Is(got.err, io.EOF) {
		t.Errorf("the first %d bytes: %v; a loop could take this for the end", len(part), got.err)
	}
	if len(got.refused) > 0 || len(got.items) > len(whole.items) {
		t.Errorf("the first %d bytes: %d items, refused %q", len(part), len(got.items), got.refused)
		return
	}
	if diff := cmp.Diff(whole.items[:len(got.items)], append([]string{}, got.items...)); diff != "" {
		t.Errorf("the first %d bytes (-whole +part):\n%s", len(part), diff)
	}
}

// A byte that has changed is found out by the end at the latest.
func TestArchiveWithAnyByteChanged(t *testing.T) {
	t.Parallel()
	data := write(t, item("secrets", "v1", "shop", "a", `{"text":"`+strings.Repeat("abc", 50)+`"}`), item("pods", "v1", "shop", "b", `{}`))
	whole := readAll(t, bytes.NewReader(data))
	for at := range data {
		for _, bit := range []byte{0x01, 0x80, 0xff} {
			changed := bytes.Clone(data)
			changed[at] ^= bit
			if got := readAll(t, bytes.NewReader(changed)); got.err == nil && !cmp.Equal(whole.items, got.items) {
				t.Errorf("byte %d changed by %#x: other objects, and no error", at, bit)
			}
		}
	}
}

// What isn't protected by a checksum of gzip is by that of tar's headers.
func TestTarWithAnyHeaderByteChanged(t *testing.T) {
	t.Parallel()
	plain := tarOf(t, file("resources/secrets/namespaces/shop/a.json", `{"a":1}`), file("resources/pods/namespaces/shop/b.json", `{}`))
	whole := readAll(t, bytes.NewReader(zip(t, plain)))
	for at := range 512 {
		changed := bytes.Clone(plain)
		changed[at] ^= 0x55
		got := readAll(t, bytes.NewReader(zip(t, changed)))
		if got.err == nil && !cmp.Equal(whole.items, got.items) {
			t.Errorf("byte %d changed: other objects, and no error: %q", at, got.items)
		}
	}
}

func TestWhatIsNoGzip(t *testing.T) {
	t.Parallel()
	whole := pack(t, file("resources/pods/namespaces/shop/a.json", "{}"))
	for name, data := range map[string][]byte{
		"nothing":           nil,
		"text":              []byte("hello"),
		"plain tar":         tarOf(t, file("resources/pods/namespaces/shop/a.json", "{}")),
		"gzip of nothing":   zip(t, nil),
		"gzip of text":      zip(t, []byte("hello")),
		"gzip of noise":     zip(t, noise(5000)),
		"gzip of gzip":      zip(t, whole),
		"more follows":      append(bytes.Clone(whole), "and more"...),
		"zeros follow":      append(bytes.Clone(whole), make([]byte, 100)...),
		"other member":      append(bytes.Clone(whole), zip(t, noise(2<<20))...),
		"half a block":      zip(t, tarOf(t)[:300]),
		"zstd's first word": {0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := readAll(t, bytes.NewReader(data)); got.err == nil {
				t.Errorf("read without error: %q", got.items)
			}
		})
	}
}

func noise(size int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	data := make([]byte, size)
	_, _ = random.Read(data) // never fails
	return data
}

// An entry whose name or type no archive has is refused by itself; the next one
// is read.
func TestReaderRefusesHostileEntries(t *testing.T) {
	t.Parallel()
	const secrets = "resources/secrets/"
	of := func(kind byte, name, link string) entry {
		return entry{header: tar.Header{Name: name, Typeflag: kind, Linkname: link, Mode: 0o777}}
	}
	for name, bad := range map[string]entry{
		"dot dot":                 file(secrets+"namespaces/shop/../../x.json", "{}"),
		"dot dot first":           file("../resources/secrets/cluster/x.json", "{}"),
		"dot dot as namespace":    file(secrets+"namespaces/../x.json", "{}"),
		"dot":                     file(secrets+"namespaces/./x.json", "{}"),
		"dot first":               file("./resources/secrets/cluster/x.json", "{}"),
		"absolute":                file("/resources/secrets/cluster/x.json", "{}"),
		"absolute elsewhere":      file("/etc/passwd", "root"),
		"twice a slash":           file("resources//secrets/cluster/x.json", "{}"),
		"backslash":               file(secrets+`cluster/..\x.json`, "{}"),
		"drive":                   file(`C:\resources\secrets\cluster\x.json`, "{}"),
		"percent":                 file(secrets+"cluster/a%2fb.json", "{}"),
		"kind in capitals":        file("resources/SECRETS/cluster/x.json", "{}"),
		"kind with a blank":       file("resources/sec rets/cluster/x.json", "{}"),
		"namespace in capitals":   file(secrets+"namespaces/SHOP/x.json", "{}"),
		"namespace of two labels": file(secrets+"namespaces/a.b/x.json", "{}"),
		"namespace too long":      file(secrets+"namespaces/"+strings.Repeat("n", 64)+"/x.json", "{}"),
		"far too long":            file(secrets+"cluster/"+strings.Repeat("n", 2000)+".json", "{}"),
		"symbolic link":           of(tar.TypeSymlink, secrets+"cluster/x.json", "/etc/passwd"),
		"hard link":               of(tar.TypeLink, secrets+"cluster/x.json", secrets+"cluster/good.json"),
		"device":                  of(tar.TypeChar, secrets+"cluster/x.json", ""),
		"disk":                    of(tar.TypeBlock, secrets+"cluster/x.json", ""),
		"pipe":                    of(tar.TypeFifo, secrets+"cluster/x.json", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := readAll(t, bytes.NewReader(pack(t, bad, file(secrets+"namespaces/shop/good.json", "{}"))))
			if got.err != nil || len(got.refused) != 1 || got.refused[0] != bad.header.Name {
				t.Errorf("refused %q, error %v", got.refused, got.err)
			}
			if diff := cmp.Diff([]string{"secrets shop/good {}"}, got.items); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

// A name in the header that PAX records replace is the one that counts.
func TestReaderChecksTheNameThatCounts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 120)
	for name, records := range map[string]map[string]string{
		"path": {"path": "resources/secrets/namespaces/shop/../../" + long + ".json"},
		"zero": {"path": "resources/secrets/cluster/x\x00.json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var record strings.Builder
			for key, value := range records {
				record.WriteString(paxRecord(key, value))
			}
			plain := tarOf(t, file("x", record.String()), file("resources/secrets/cluster/harmless.json", "{}"))
			plain[156] = tar.TypeXHeader // the first entry becomes the second's records
			fixChecksum(plain[:512])
			got := readAll(t, bytes.NewReader(zip(t, plain)))
			if len(got.items) > 0 || got.err == nil && len(got.refused) == 0 {
				t.Errorf("items %q, refused %q, error %v", got.items, got.refused, got.err)
			}
		})
	}
}

// paxRecord is "LENGTH KEY=VALUE\n", where the length counts itself.
func paxRecord(key, value string) string {
	for size := len(key) + len(value) + 4; ; size++ {
		if record := fmt.Sprintf("%d %s=%s\n", size, key, value); len(record) == size {
			return record
		}
	}
}

func fixChecksum(header []byte) {
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// What the format doesn't have is left out and counted: a later version may.
func TestReaderCountsForeignEntries(t *testing.T) {
	t.Parallel()
	got := readAll(t, bytes.NewReader(pack(t,
		file("metadata/version", "1.1.0\n"), entry{header: tar.Header{Name: "resources/pods/", Typeflag: tar.TypeDir, Mode: 0o755}},
		file("notes/readme.txt", "hi"),
		file("Resources/secrets/cluster/wrong-case.json", "{}"),
		file("resources/secrets/Namespaces/shop/wrong-case.json", "{}"),
		file("resources/secrets/cluster/wrong-case.JSON", "{}"),
		file("resources/secrets/cluster/.json", "{}"),
		file("resources/secrets/cluster/x", "{}"),
		file("resources/secrets/cluster/deep/er/x.json", "{}"),
		file("resources/secrets/namespaces/x.json", "{}"),
		file("resources/pods/namespaces/shop/good.json", "{}"))))
	if got.err != nil || len(got.refused) > 0 || got.ignored != 8 || len(got.items) != 1 {
		t.Errorf("error %v, refused %q, ignored %d, items %q", got.err, got.refused, got.ignored, got.items)
	}
}

// Names that Kubernetes has and that only look odd come through.
func TestReaderTakesOddNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"system:node", "a b", "...", "-", "ünï", "x.json", "a=b", strings.Repeat("n", 253)} {
		got := readAll(t, bytes.NewReader(pack(t, file("resources/roles.rbac.authorization.k8s.io/namespaces/shop/"+name+".json", "{}"))))
		if got.err != nil || len(got.items) != 1 || !strings.Contains(got.items[0], name) {
			t.Errorf("%q: %+v", name, got)
		}
	}
}

// zeros is a gzip stream that expands to n zeros, and is itself a thousand times
// smaller.
func zeros(t testing.TB, n int64) io.Reader {
	t.Helper()
	const chunk = 64 << 20
	var member bytes.Buffer
	gz, err := gzip.NewWriterLevel(&member, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(gz, zeroReader{}, chunk); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	var members []io.Reader
	for range n / chunk {
		members = append(members, bytes.NewReader(member.Bytes()))
	}
	return io.MultiReader(members...)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// It doesn't run beside other tests, since it counts what is allocated.
func TestTenGiBOfZeros(t *testing.T) {
	const size = 10 << 30
	header := func(name string, size int64) []byte {
		var out bytes.Buffer
		if err := tar.NewWriter(&out).WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size}); err != nil {
			t.Fatal(err)
		}
		return zip(t, out.Bytes())
	}
	good := pack(t, file("resources/pods/namespaces/shop/good.json", "{}"))
	for name, tc := range map[string]struct {
		parts   []io.Reader
		refused int
		items   int
		whole   bool
	}{
		"nothing else":      {parts: []io.Reader{zeros(t, size)}},
		"after the end":     {parts: []io.Reader{bytes.NewReader(good), zeros(t, size)}, items: 1},
		"as an object":      {parts: []io.Reader{bytes.NewReader(header("resources/pods/namespaces/shop/huge.json", size)), zeros(t, size), bytes.NewReader(good)}, refused: 1, items: 1, whole: true},
		"as something else": {parts: []io.Reader{bytes.NewReader(header("notes/huge", 1<<30)), zeros(t, 1<<30), bytes.NewReader(good)}, items: 1, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := readAll(t, io.MultiReader(tc.parts...))
			runtime.ReadMemStats(&after)
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4<<20 {
				t.Errorf("%d bytes were allocated", allocated)
			}
			if len(got.refused) != tc.refused || len(got.items) != tc.items || (got.err == nil) != tc.whole {
				t.Errorf("refused %q, %d items, error %v", got.refused, len(got.items), got.err)
			}
		})
	}
}

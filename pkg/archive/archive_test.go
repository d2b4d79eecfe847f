package archive_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

func item(resource, version, namespace, name, body string) archive.Item {
	return archive.Item{Resource: schema.ParseGroupResource(resource), Version: version, Preferred: true, Namespace: namespace, Name: name, Body: []byte(body)}
}

func write(t *testing.T, items ...archive.Item) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		if err := w.Write(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Bytes() != int64(out.Len()) {
		t.Errorf("Bytes() = %d, wrote %d", w.Bytes(), out.Len())
	}
	return out.Bytes()
}

// entries lists the archive with the standard library, as Velero would.
func entries(t *testing.T, data []byte) []string {
	t.Helper()
	gz, err := stdgzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tr := tar.NewReader(gz); ; {
		header, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o %s", header.Name, header.Mode, body))
	}
}

func TestLayout(t *testing.T) {
	t.Parallel()
	data := write(t,
		item("namespaces", "v1", "", "shop", `{"a":1}`),
		item("deployments.apps", "v1", "shop", "web", `{"b":2}`),
		item("clusterroles.rbac.authorization.k8s.io", "v1", "", "system:node", `{}`),
		archive.Item{Resource: schema.ParseGroupResource("widgets.shop.example.com"), Version: "v1beta1", Namespace: "shop", Name: "gear", Body: []byte(`{}`)},
	)
	want := []string{
		"metadata/version 755 1.1.0\n",
		`resources/namespaces/cluster/shop.json 755 {"a":1}`,
		`resources/namespaces/v1-preferredversion/cluster/shop.json 755 {"a":1}`,
		`resources/deployments.apps/namespaces/shop/web.json 755 {"b":2}`,
		`resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json 755 {"b":2}`,
		"resources/clusterroles.rbac.authorization.k8s.io/cluster/system:node.json 755 {}",
		"resources/clusterroles.rbac.authorization.k8s.io/v1-preferredversion/cluster/system:node.json 755 {}",
		"resources/widgets.shop.example.com/v1beta1/namespaces/shop/gear.json 755 {}",
	}
	if diff := cmp.Diff(want, entries(t, data)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestReadBackAcrossMembers(t *testing.T) {
	t.Parallel()
	big := `{"x":"` + strings.Repeat("y", 400_000) + `"}`
	var items []archive.Item
	for n := range 9 {
		items = append(items, item("secrets", "v1", "shop", fmt.Sprintf("s%d", n), big))
	}
	items = append(items, item("persistentvolumes", "v1", "", "pv", `{}`))
	reader, err := archive.NewReader(bytes.NewReader(write(t, items...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range items {
		got, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want.Body, got.Body) {
			t.Fatalf("body of %s differs", want.Name)
		}
		want.Version, want.Body, got.Body = "", nil, nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("item (-want +got):\n%s", diff)
		}
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last item: %v", err)
	}
}

func TestWriterRefusesWhatItCouldNotReadBack(t *testing.T) {
	t.Parallel()
	w, err := archive.NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []archive.Item{
		item("secrets", "v1", "shop", "../../etc/passwd", "{}"),
		item("secrets", "v1", "..", "x", "{}"),
		item("", "v1", "shop", "x", "{}"),
	} {
		if err := w.Write(bad); err == nil {
			t.Errorf("Write(%v/%v) succeeded", bad.Namespace, bad.Name)
		}
	}
}

type failingWriter struct{ left int }

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func TestWriterErrorsStay(t *testing.T) {
	t.Parallel()
	for _, room := range []int{0, 200, 100_000} {
		w, err := archive.NewWriter(&failingWriter{left: room})
		for n := 0; err == nil && n < 10_000; n++ {
			err = w.Write(item(fmt.Sprintf("kind%ds", n/1000), "v1", "shop", fmt.Sprint(n), strings.Repeat(fmt.Sprint(n), 50)))
		}
		if err == nil || (w != nil && w.Close() == nil) {
			t.Errorf("room %d: Write error %v, Close must fail too", room, err)
		}
	}
}

// hostile builds an archive with one entry.
func hostile(t testing.TB, header tar.Header, body string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := stdgzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	header.Size = int64(len(body))
	if err := tw.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write([]byte(body)); err != nil && len(body) > 0 {
		t.Fatal(err)
	}
	for _, closer := range []io.Closer{tw, gz} {
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func TestReaderRefusesHostileEntries(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]tar.Header{
		"dot dot":      {Name: "resources/secrets/namespaces/shop/../../x.json", Typeflag: tar.TypeReg},
		"absolute":     {Name: "/resources/secrets/cluster/x.json", Typeflag: tar.TypeReg},
		"backslash":    {Name: `resources/secrets/cluster/..\x.json`, Typeflag: tar.TypeReg},
		"symlink":      {Name: "resources/secrets/cluster/x.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"bad resource": {Name: "resources/SECRETS/cluster/x.json", Typeflag: tar.TypeReg},
		"namespace":    {Name: "resources/secrets/namespaces/UPPER/x.json", Typeflag: tar.TypeReg},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := archive.NewReader(bytes.NewReader(hostile(t, header, "")))
			if err != nil {
				t.Fatal(err)
			}
			var itemErr *archive.ItemError
			if _, err := r.Next(); !errors.As(err, &itemErr) {
				t.Errorf("Next() = %v, want an *ItemError", err)
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("the reader doesn't go on: %v", err)
			}
		})
	}
}

func TestReaderCountsForeignEntries(t *testing.T) {
	t.Parallel()
	r, err := archive.NewReader(bytes.NewReader(hostile(t, tar.Header{Name: "notes/readme.txt", Typeflag: tar.TypeReg}, "hi")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) || r.Ignored() != 1 {
		t.Errorf("Next() = %v, ignored %d", err, r.Ignored())
	}
}

func TestReaderTellsACutArchive(t *testing.T) {
	t.Parallel()
	data := write(t, item("secrets", "v1", "shop", "a", strings.Repeat("x", 5000)), item("pods", "v1", "shop", "b", "{}"))
	for _, size := range []int{0, 10, len(data) / 2, len(data) - 9} {
		r, err := archive.NewReader(bytes.NewReader(data[:size]))
		for err == nil {
			_, err = r.Next()
		}
		if err == io.EOF && size > 0 { //nolint:errorlint // the exact end, not a wrapped one
			t.Errorf("cut at %d of %d: read as complete", size, len(data))
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(hostile(f, tar.Header{Name: "resources/pods/namespaces/a/b.json", Typeflag: tar.TypeReg}, "{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := archive.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		for range 1000 {
			got, err := r.Next()
			var itemErr *archive.ItemError
			if errors.As(err, &itemErr) {
				continue
			}
			if err != nil {
				return
			}
			if strings.ContainsAny(got.Name+got.Namespace, "/\\") || got.Name == ".." {
				t.Fatalf("unsafe item %q/%q", got.Namespace, got.Name)
			}
		}
	})
}

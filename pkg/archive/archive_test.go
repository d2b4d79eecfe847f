package archive_test

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

func item(resource, version, namespace, name, body string) archive.Item {
	return archive.Item{Resource: schema.ParseGroupResource(resource), Version: version, Preferred: true, Namespace: namespace, Name: name, Body: []byte(body)}
}

func write(t *testing.T, items ...archive.Item) []byte {
	t.Helper()
	data, _ := writeIndexed(t, items...)
	return data
}

// writeIndexed writes neighbours of one kind together, as a backup does.
func writeIndexed(t *testing.T, items ...archive.Item) ([]byte, *archive.Index) {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, modTime)
	if err != nil {
		t.Fatal(err)
	}
	var kind *archive.Kind
	for n, i := range items {
		if n == 0 || i.Resource != items[n-1].Resource || i.Version != items[n-1].Version {
			kind = begin(t, w, kind, i)
		}
		if err := kind.Write(i.Namespace, i.Name, i.Body); err != nil {
			t.Fatal(err)
		}
	}
	if kind != nil {
		if err := kind.Close(); err != nil {
			t.Fatal(err)
		}
	}
	index, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), index
}

var modTime = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

// begin closes one kind and opens that of i.
func begin(t *testing.T, w *archive.Writer, last *archive.Kind, i archive.Item) *archive.Kind {
	t.Helper()
	if last != nil {
		if err := last.Close(); err != nil {
			t.Fatal(err)
		}
	}
	kind, err := w.Kind(i.Resource, i.Version, i.Preferred)
	if err != nil {
		t.Fatal(err)
	}
	return kind
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
	w, err := archive.NewWriter(io.Discard, modTime)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, bad := range []string{"", "..", "UPPER", "a/b"} {
		if _, err := w.Kind(schema.GroupResource{Resource: bad}, "v1", true); err == nil {
			t.Errorf("Kind(%q) succeeded", bad)
		}
	}
	kind := begin(t, w, nil, item("secrets", "v1", "", "", ""))
	for _, bad := range [][2]string{{"shop", "../../etc/passwd"}, {"..", "x"}, {"shop", ""}, {"", ".."}, {"", "a\x00b"}, {"shop", strings.Repeat("x", 700)}} {
		var itemErr *archive.ItemError
		if err := kind.Write(bad[0], bad[1], []byte("{}")); !errors.As(err, &itemErr) {
			t.Errorf("Write(%q, %q) = %v, want an *ItemError", bad[0], bad[1], err)
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
		w, err := archive.NewWriter(&failingWriter{left: room}, modTime)
		if err != nil {
			continue // room for nothing
		}
		kind := begin(t, w, nil, item("secrets", "v1", "", "", ""))
		noise := rand.New(rand.NewPCG(1, 2))
		for n := 0; err == nil && n < 10_000; n++ {
			err = kind.Write("shop", fmt.Sprint(n), fmt.Appendf(nil, "%x", noise.Uint64()))
		}
		if _, closeErr := w.Close(); closeErr == nil || !strings.Contains(closeErr.Error(), "disk full") {
			t.Errorf("room %d: Write error %v, Close error %v; it must fail too", room, err, closeErr)
		}
	}
}

func TestKindsAreWrittenAtOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, modTime)
	if err != nil {
		t.Fatal(err)
	}
	const kinds, each = 8, 300
	var group errgroup.Group
	for k := range kinds {
		kind := begin(t, w, nil, item(fmt.Sprintf("kind%ds", k), "v1", "", "", ""))
		group.Go(func() error {
			for n := range each {
				if err := kind.Write("shop", fmt.Sprintf("o%03d", n), bytes.Repeat([]byte("x"), 4000)); err != nil {
					return err
				}
			}
			return kind.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	last := map[string]string{}
	count := 0
	for _, entry := range entries(t, out.Bytes()) {
		folder, name, _ := strings.Cut(strings.Fields(entry)[0], "/namespaces/")
		if name <= last[folder] && name != "" {
			t.Fatalf("%s: %s comes after %s", folder, name, last[folder])
		}
		last[folder] = name
		count++
	}
	if want := kinds*each*2 + 1; count != want {
		t.Errorf("%d entries, want %d", count, want)
	}
}

func TestEveryRangeOfTheIndexReadsAlone(t *testing.T) {
	t.Parallel()
	var items []archive.Item
	for _, resource := range []string{"secrets", "pods"} {
		for n := range 500 {
			items = append(items, item(resource, "v1", "shop", fmt.Sprintf("x%d", n), strings.Repeat("ab", 1000)))
		}
	}
	data, index := writeIndexed(t, items...)
	encoded, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if index, err = archive.ReadIndex(bytes.NewReader(encoded)); err != nil {
		t.Fatal(err)
	}
	for _, want := range items {
		members := index.Find(want.Resource.String(), want.Namespace, want.Name)
		if !slices.ContainsFunc(members, func(m archive.Member) bool {
			return holds(t, data[m.Offset:m.Offset+m.Length], want.Name)
		}) {
			t.Fatalf("no member holds %s/%s", want.Resource, want.Name)
		}
	}
	if len(index.Find("secrets", "other", "x1")) > 0 || len(index.Find("nodes", "", "x1")) > 0 {
		t.Error("the index finds what isn't there")
	}
	all := index.Select(func(archive.Member) bool { return true })
	if diff := cmp.Diff([]archive.Range{{Offset: 0, Length: int64(len(data))}}, all); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func holds(t *testing.T, part []byte, name string) bool {
	t.Helper()
	r, err := archive.NewPartReader(bytes.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	for {
		got, err := r.Next()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.Name == name {
			return true
		}
	}
}

func TestReadIndexRefusesOneThatDoesNotFit(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":   "{",
		"gap":       `{"size":30,"members":[{"offset":0,"length":10},{"offset":20,"length":10}]}`,
		"too short": `{"size":30,"members":[{"offset":0,"length":10}]}`,
		"negative":  `{"size":0,"members":[{"offset":0,"length":-1}]}`,
	} {
		if _, err := archive.ReadIndex(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read without error", name)
		}
	}
}

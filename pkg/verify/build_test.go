package verify_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// folder is a backup's folder in memory.
type folder map[string][]byte

func (f folder) Open(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, ok := f[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if length < 0 {
		length = int64(len(body)) - offset
	}
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(body), offset, length)), nil
}

func (f folder) List(context.Context) ([]string, error) { return slices.Sorted(maps.Keys(f)), nil }

// fixture is a backup that Velero wrote.
func fixture(t testing.TB, path string) folder {
	t.Helper()
	dir := filepath.Join("../../testdata/fixtures/velero-1.18.0", path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := folder{}
	for _, entry := range entries {
		if f[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func zip(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	if _, err := gz.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipJSON(t testing.TB, v any) []byte {
	t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return zip(t, body)
}

// object is one object of a backup that is made up.
type object struct{ resource, apiVersion, kind, namespace, name, more string }

func (o object) body() []byte {
	namespace := ""
	if o.namespace != "" {
		namespace = fmt.Sprintf(`"namespace":%q,`, o.namespace)
	}
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{%s"name":%q}%s}`, o.apiVersion, o.kind, namespace, o.name, o.more)
}

func objects() []object {
	all := []object{
		{"namespaces", "v1", "Namespace", "", "shop", ""},
		{"clusterroles.rbac.authorization.k8s.io", "rbac.authorization.k8s.io/v1", "ClusterRole", "", "system:shop", ""},
		{"deployments.apps", "apps/v1", "Deployment", "shop", "web", ""},
		{"deployments.apps", "apps/v1", "Deployment", "shop", "api", ""},
		{"widgets.shop.example.com", "shop.example.com/v1", "Widget", "shop", "gear", ""},
	}
	for n := range 40 {
		all = append(all, object{"configmaps", "v1", "ConfigMap", "shop", fmt.Sprintf("c%02d", n), `,"data":{"k":"` + strings.Repeat(fmt.Sprint(n), 12_000) + `"}`})
	}
	return all
}

// ours makes a backup as this program writes them.
func ours(t testing.TB) folder { return write(t, objects()) }

// write makes a backup of objects, which stand kind by kind.
func write(t testing.TB, objects []object) folder {
	t.Helper()
	f := folder{}
	var packed bytes.Buffer
	w, err := archive.NewWriter(&packed, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	list, stored := map[string][]string{}, map[string]int{}
	var kind *archive.Kind
	last := ""
	closeKind := func() {
		if kind == nil {
			return
		}
		if err := kind.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range objects {
		if o.resource != last {
			closeKind()
			_, version, _ := strings.Cut("/"+o.apiVersion, "/v")
			if kind, err = w.Kind(schema.ParseGroupResource(o.resource), "v"+version, true); err != nil {
				t.Fatal(err)
			}
			last = o.resource
		}
		if err := kind.Write(o.namespace, o.name, o.body()); err != nil {
			t.Fatal(err)
		}
		name := o.name
		if o.namespace != "" {
			name = o.namespace + "/" + name
		}
		list[o.apiVersion+"/"+o.kind] = append(list[o.apiVersion+"/"+o.kind], name)
		stored[o.resource]++
	}
	closeKind()
	index, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range list {
		slices.Sort(names)
	}
	f["b.tar.gz"] = packed.Bytes()
	f["b-resource-list.json.gz"] = zipJSON(t, list)
	f["b-index.json.gz"] = zipJSON(t, index)
	f["b-coverage.json.gz"] = zipJSON(t, coverage(stored))
	f["b-logs.gz"] = zip(t, []byte("level=info msg=done\n"))
	f["b-results.gz"] = zip(t, []byte(`{"warnings":{},"errors":{}}`))
	f["b-podvolumebackups.json.gz"] = zip(t, []byte("null\n"))
	f["b-volumesnapshots.json.gz"] = zip(t, []byte("null\n"))
	f["b-itemoperations.json.gz"] = zip(t, []byte("[]\n"))
	f["b-volumeinfo.json.gz"] = zip(t, []byte(`[{"pvcName":"data","skipped":true}]`))
	f["b-claim.json"] = []byte(`{"clusterID":"c","backupUID":"u1","attempt":1}`)
	f.seal(t, len(objects))
	return f
}

func coverage(stored map[string]int) any {
	type line struct {
		Resource string `json:"resource"`
		Listed   int    `json:"listed"`
		Stored   int    `json:"stored"`
	}
	var kinds []line
	for resource, n := range stored {
		kinds = append(kinds, line{resource, n, n})
	}
	return map[string]any{"kinds": kinds}
}

// seal writes checksums and marker, the last two objects of a backup.
func (f folder) seal(t testing.TB, items int) {
	t.Helper()
	delete(f, "b-checksums.json")
	delete(f, "velero-backup.json")
	sums := map[string]any{}
	for name, body := range f {
		sum := sha256.Sum256(body)
		sums[name] = map[string]any{"size": len(body), "sha256": hex.EncodeToString(sum[:])}
	}
	body, err := json.MarshalIndent(map[string]any{"objects": sums}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	f["b-checksums.json"] = body
	sum := sha256.Sum256(body)
	f["velero-backup.json"] = fmt.Appendf(nil, `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"b","uid":"u1","annotations":{"kubectl-velero.io/checksums-sha256":%q}},
"status":{"phase":"Completed","formatVersion":"1.1.0","progress":{"totalItems":%d,"itemsBackedUp":%d}}}`, hex.EncodeToString(sum[:]), items, items)
}

// entry is one entry of a tar that is made up.
type entry struct {
	header tar.Header
	body   string
}

func file(name, body string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, body}
}

// pack makes an archive of one gzip member.
func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		header := e.header
		if header.Typeflag == tar.TypeReg {
			header.Size = int64(len(e.body))
		}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil && e.body != "" {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return zip(t, out.Bytes())
}

// run verifies and returns the findings as lines.
func run(t testing.TB, f folder, name string) (verify.Summary, []string) {
	t.Helper()
	var lines []string
	summary, err := verify.Backup(context.Background(), f, name, func(e verify.Event) error {
		if e.Finding != nil {
			lines = append(lines, fmt.Sprintf("%s %s %s: %s", e.Finding.Severity, e.Finding.Object, e.Finding.Path, e.Finding.Text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return summary, lines
}

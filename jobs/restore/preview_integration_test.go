//go:build integration

package restore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// preview returns what a preview says of each object, by kind and name.
func (w *world) preview(spec velerov1.RestoreSpec, diff bool) (map[string]report.PreviewItem, report.PreviewEnd) {
	w.t.Helper()
	return w.previewWith(spec, diff, nil)
}

func (w *world) previewWith(spec velerov1.RestoreSpec, diff bool, change func(*restore.Config)) (map[string]report.PreviewItem, report.PreviewEnd) {
	w.t.Helper()
	ctx, cancel, env, err := run.Start(w.t.Context(), run.Options{
		Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile,
	})
	w.must(err)
	defer cancel()
	cfg := restore.Config{Env: env}
	if change != nil {
		change(&cfg)
	}
	r := &velerov1.Restore{Spec: spec}
	r.Name, r.Namespace = "look", w.velero
	items := map[string]report.PreviewItem{}
	var mu sync.Mutex
	end := restore.Preview(ctx, cfg, r, diff, func(item report.PreviewItem) error {
		mu.Lock()
		defer mu.Unlock()
		items[item.Kind+" "+item.Name] = item
		return nil
	}, func(int) {})
	return items, end
}

// previewed has objects of every fate.
func previewed(t *testing.T) *world {
	w := newWorld(t)
	w.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + w.app + `}}`)
	for _, name := range []string{"same", "differs"} {
		w.apply(`{apiVersion: v1, kind: ConfigMap, metadata: {name: ` + name + `, namespace: ` + w.app + `}, data: {a: "1"}}`)
	}
	w.apply(`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: ` + w.app + `}, immutable: true, data: {a: "1"}}`)
	w.putBackup("b",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: same, namespace: `+w.app+`}, data: {a: "1"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: differs, namespace: `+w.app+`}, data: {a: "2"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: `+w.app+`}, immutable: true, data: {a: "2"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: new, namespace: `+w.app+`}, data: {a: "1"}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: Wrong_, namespace: `+w.app+`}}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: far, namespace: `+w.app+`-new}}`,
		`{apiVersion: nowhere.example.com/v1, kind: Thing, metadata: {name: x, namespace: `+w.app+`}}`)
	return w
}

func TestPreviewWritesNothingAndKnowsWhatWouldHappen(t *testing.T) {
	t.Parallel()
	w := previewed(t)
	for name, tc := range map[string]struct {
		policy                             velerov1.PolicyType
		diff                               bool
		differs, fixed, impossible, remote report.PreviewAction
	}{
		"none":                {"", false, report.PreviewSkip, report.PreviewSkip, report.PreviewRefuse, report.PreviewUnchecked},
		"update":              {velerov1.PolicyTypeUpdate, false, report.PreviewUpdate, report.PreviewRefuse, report.PreviewRefuse, report.PreviewUnchecked},
		"recreate":            {velerov1.PolicyTypeRecreate, false, report.PreviewRecreate, report.PreviewRecreate, report.PreviewRefuse, report.PreviewUnchecked},
		"recreate, as a diff": {velerov1.PolicyTypeRecreate, true, report.PreviewRecreate, report.PreviewRecreate, report.PreviewCreate, report.PreviewCreate},
	} {
		items, end := w.preview(velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: tc.policy}, tc.diff)
		got := map[string]report.PreviewAction{}
		for key, item := range items {
			got[key] = item.Action
			wants := tc.diff && item.Action != report.PreviewUnchanged && item.Kind != "Thing"
			if has := len(item.Wanted) > 0; has != wants {
				t.Errorf("%s: %s: has the wanted object: %t", name, key, has)
			}
		}
		want := map[string]report.PreviewAction{
			"ConfigMap same": report.PreviewUnchanged, "ConfigMap differs": tc.differs, "ConfigMap fixed": tc.fixed, "ConfigMap new": report.PreviewCreate,
			"ConfigMap Wrong_": tc.impossible, "ConfigMap far": tc.remote, "Thing x": report.PreviewRefuse, "Namespace " + w.app + "-new": report.PreviewCreate,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: actions (-want +got):\n%s", name, diff)
		}
		if end.Reason != "" || len(end.Errors) != 1 || !strings.Contains(end.Errors[0], "things.nowhere.example.com") {
			t.Errorf("%s: end %+v", name, end)
		}
	}
	if w.get("configmaps", w.app, "new") != nil || w.get("namespaces", "", w.app+"-new") != nil || w.get("configmaps", w.app, "differs").Object["data"].(map[string]any)["a"] != "1" {
		t.Error("a preview wrote something")
	}
	if keys := w.keys("restores/"); len(keys) > 0 {
		t.Errorf("a preview left %v in the bucket", keys)
	}
}

func TestPreviewThatCannotBeMade(t *testing.T) {
	t.Parallel()
	w := previewed(t)
	for reason, spec := range map[string]velerov1.RestoreSpec{
		`Backup "nope" doesn't exist`: {BackupName: "nope"},
		"existingResourcePolicy":      {BackupName: "b", ExistingResourcePolicy: "replace"},
	} {
		if _, end := w.preview(spec, false); !strings.Contains(end.Reason, reason) {
			t.Errorf("end %+v, want %s", end, reason)
		}
	}
}

// putIndexed writes a backup with an index: n config maps and n secrets of some
// 16 KiB that don't compress, named c-000 … and s-000 ….
func (w *world) putIndexed(name string, n int) (size int64) {
	w.t.Helper()
	var body bytes.Buffer
	writer, err := archive.NewWriter(&body, time.Now())
	w.must(err)
	for _, k := range []struct{ resource, kind, prefix string }{{"configmaps", "ConfigMap", "c"}, {"secrets", "Secret", "s"}} {
		kind, err := writer.Kind(schema.GroupResource{Resource: k.resource}, "v1", true)
		w.must(err)
		for i := range n {
			noise := make([]byte, 12<<10)
			_, _ = rand.Read(noise)
			object := fmt.Sprintf("%s-%03d", k.prefix, i)
			w.must(kind.Write(w.app, object, fmt.Appendf(nil, `{"apiVersion":"v1","kind":%q,"metadata":{"name":%q,"namespace":%q},"data":{"noise":%q}}`,
				k.kind, object, w.app, base64.StdEncoding.EncodeToString(noise))))
		}
		w.must(kind.Close())
	}
	index, err := writer.Close()
	w.must(err)
	w.must(catalog.New(w.bucket).PutJSON(w.t.Context(), catalog.BackupFile(name, catalog.Index), index))
	size = int64(body.Len())
	w.putArchive(name, body.Bytes())
	return size
}

// metered is a bucket that counts what is read of archives.
type metered struct {
	store.Bucket
	read *atomic.Int64
}

func (m metered) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := m.Bucket.Get(ctx, key)
	return m.meter(key, r), err
}

func (m metered) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := m.Bucket.GetRange(ctx, key, offset, length)
	return m.meter(key, r), err
}

func (m metered) meter(key string, r io.ReadCloser) io.ReadCloser {
	if r == nil || !strings.HasSuffix(key, ".tar.gz") {
		return r
	}
	return meteredReader{r, m.read}
}

type meteredReader struct {
	io.ReadCloser
	read *atomic.Int64
}

func (m meteredReader) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.read.Add(int64(n))
	return n, err
}

func TestByNameReadsOnlyWhatItNeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	size := w.putIndexed("b", 400)
	var read atomic.Int64
	meter := func(c *restore.Config) {
		open := c.OpenStore
		c.OpenStore = func(ctx context.Context, bsl *velerov1.BackupStorageLocation) (store.Bucket, error) {
			bucket, err := open(ctx, bsl)
			return metered{bucket, &read}, err
		}
	}
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"},
		velerov1.IncludeObjectsAnnotation, w.app+"/configmap/c-007,"+w.app+"/secret/s-39*", velerov1.ExcludeObjectsAnnotation, w.app+"/secret/s-395")
	if summary, _ := w.run("r", meter); summary.Outcome != report.Completed {
		t.Errorf("summary %+v", summary)
	}
	want := map[string]bool{"v1/Namespace " + w.app + "(created)": true, "v1/ConfigMap " + w.app + "/c-007(created)": true}
	for i := 390; i < 400; i++ {
		want[fmt.Sprintf("v1/Secret %s/s-%d(created)", w.app, i)] = true
	}
	delete(want, "v1/Secret "+w.app+"/s-395(created)")
	if diff := cmp.Diff(want, w.actions("r")); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
	if got := read.Swap(0); got > size/3 {
		t.Errorf("%d bytes of %d were read", got, size)
	}
	if summary, _ := w.restore("all", velerov1.RestoreSpec{BackupName: "b"}, meter); summary.Outcome != report.Completed || summary.Items != 801 {
		t.Errorf("everything: summary %+v", summary)
	}
	if got := read.Load(); got < size {
		t.Errorf("everything: %d bytes of %d were read", got, size)
	}
}

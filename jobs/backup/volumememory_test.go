package backup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// manyDisks is an API server with a namespace full of claims, whose volumes are disks
// of a cloud that cuts snapshots at once. Neither keeps anything for a volume.
type manyDisks struct {
	snapshot.Snapshotter
	*apitest.Server
	tb    testing.TB
	count int

	mu sync.Mutex // guards what follows
	// created and asked count requests for snapshots and for their state; ready is
	// what the latter are answered with.
	created, asked int
	ready          bool
	// onCut and onState are called at each request for a snapshot and for its state,
	// with its number from 1; nil for nothing.
	onCut, onState func(n int)
}

func newManyDisks(tb testing.TB, count int) *manyDisks {
	m := &manyDisks{Server: apitest.New(tb), tb: tb, count: count}
	server := httptest.NewServer(m)
	tb.Cleanup(server.Close)
	m.Config = &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	for _, name := range []string{"velero", "kube-system", "shop"} {
		m.Add("/api/v1/namespaces", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NamespaceStatus{Phase: corev1.NamespaceActive}})
	}
	const velero = "/apis/velero.io/v1/namespaces/velero/"
	m.Add(velero+"backupstoragelocations", &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec:       velerov1.BackupStorageLocationSpec{Provider: "aws", Default: true, ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b"}},
	})
	m.Add(velero+"volumesnapshotlocations", &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "cloud"}, Spec: velerov1.VolumeSnapshotLocationSpec{Provider: "aws"},
	})
	m.Add(velero+"backups", &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: "many"}, Spec: velerov1.BackupSpec{IncludedNamespaces: []string{"shop"}},
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	})
	return m
}

// run backs the namespace up.
func (m *manyDisks) run(ctx context.Context) report.Summary {
	m.tb.Helper()
	velero, kube, dyn := m.Clients()
	env := &run.Env{
		REST: m.Config, Client: velero, Kube: kube, Dynamic: dyn, Discovery: kube.Discovery(), Namespace: "velero",
		Attempt: 1, LastAttempt: true, Features: []string{run.FeatureCSI}, Log: slog.New(slog.DiscardHandler),
		LogText: func() ([]byte, error) { return nil, nil },
		OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) {
			return memstore.New(nil), nil
		},
		OpenSnapshotter: func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) { return m, nil },
	}
	summary, err := Run(ctx, Config{Env: env, Name: "many"})
	if err != nil {
		m.tb.Fatal(err)
	}
	return summary
}

// ServeHTTP serves the claims and volumes, and leaves the rest to the other server.
func (m *manyDisks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	static := map[string]string{
		"/version": `{"major":"1","minor":"36","gitVersion":"v1.36.3"}`,
		"/api":     `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":    `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1","resources":[
			{"name":"namespaces","namespaced":false,"kind":"Namespace","verbs":["create","delete","get","list"]},
			{"name":"persistentvolumes","namespaced":false,"kind":"PersistentVolume","verbs":["create","delete","get","list"]},
			{"name":"persistentvolumeclaims","namespaced":true,"kind":"PersistentVolumeClaim","verbs":["create","delete","get","list"]}]}`,
	}
	w.Header().Set("Content-Type", "application/json")
	path, name, _ := strings.Cut(strings.Replace(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/pv-", "/", 1), "/data-")
	switch {
	case static[r.URL.Path] != "":
		_, _ = io.WriteString(w, static[r.URL.Path])
	case path == "persistentvolumes":
		m.serve(w, r, name, diskVolume)
	case path == "persistentvolumeclaims" || path == "namespaces/shop/persistentvolumeclaims":
		m.serve(w, r, name, diskClaim)
	default:
		m.Server.ServeHTTP(w, r)
	}
}

// serve answers with one object, or with a page of all.
func (m *manyDisks) serve(w http.ResponseWriter, r *http.Request, name string, object func(int) string) {
	if i, err := strconv.Atoi(name); err == nil {
		_, _ = io.WriteString(w, object(i))
		return
	}
	query := r.URL.Query()
	from, _ := strconv.Atoi(query.Get("continue"))
	to := m.count
	if limit, _ := strconv.Atoi(query.Get("limit")); limit > 0 {
		to = min(to, from+limit)
	}
	next := ""
	if to < m.count {
		next = fmt.Sprintf(`,"continue":"%d","remainingItemCount":%d`, to, m.count-to)
	}
	_, _ = fmt.Fprintf(w, `{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"%s},"items":[`, next)
	for i := from; i < to; i++ {
		if i > from {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = io.WriteString(w, object(i))
	}
	_, _ = io.WriteString(w, "]}")
}

// diskManagers is who set the fields of a claim or a volume, as an API server tells.
const diskManagers = `"managedFields":[{"apiVersion":"v1","fieldsType":"FieldsV1","manager":"csi-provisioner","operation":"Update","time":"2026-01-02T03:04:05Z",
	"fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:pv.kubernetes.io/provisioned-by":{},"f:volume.kubernetes.io/provisioner-deletion-secret-name":{}}},
	"f:spec":{"f:accessModes":{},"f:capacity":{".":{},"f:storage":{}},"f:claimRef":{".":{},"f:apiVersion":{},"f:kind":{},"f:name":{},"f:namespace":{},"f:resourceVersion":{},"f:uid":{}}}}},
	{"apiVersion":"v1","fieldsType":"FieldsV1","manager":"kube-controller-manager","operation":"Update","subresource":"status","time":"2026-01-02T03:04:05Z","fieldsV1":{"f:status":{"f:phase":{}}}}]`

func diskVolume(i int) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolume","metadata":{"name":"pv-data-%[1]d","uid":"7b5d1a8e-1111-4222-8333-%012[1]d","resourceVersion":"%[1]d",
	"creationTimestamp":"2026-01-02T03:04:05Z","finalizers":["kubernetes.io/pv-protection"],"labels":{"topology.kubernetes.io/zone":"eu-central-1a"},
	"annotations":{"pv.kubernetes.io/provisioned-by":"ebs.csi.aws.com","volume.kubernetes.io/provisioner-deletion-secret-name":"","volume.kubernetes.io/provisioner-deletion-secret-namespace":""},%[2]s},
	"spec":{"capacity":{"storage":"10Gi"},"accessModes":["ReadWriteOnce"],"persistentVolumeReclaimPolicy":"Delete","storageClassName":"gp3","volumeMode":"Filesystem",
	"csi":{"driver":"ebs.csi.aws.com","volumeHandle":"vol-%017[1]d","fsType":"ext4","volumeAttributes":{"storage.kubernetes.io/csiProvisionerIdentity":"1767322445000-8081-ebs.csi.aws.com"}},
	"claimRef":{"apiVersion":"v1","kind":"PersistentVolumeClaim","namespace":"shop","name":"data-%[1]d","uid":"7b5d1a8e-1111-4222-8444-%012[1]d","resourceVersion":"%[1]d"},
	"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"topology.ebs.csi.aws.com/zone","operator":"In","values":["eu-central-1a"]}]}]}}},
	"status":{"phase":"Bound","lastPhaseTransitionTime":"2026-01-02T03:04:05Z"}}`, i, diskManagers)
}

func diskClaim(i int) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"namespace":"shop","name":"data-%[1]d","uid":"7b5d1a8e-1111-4222-8444-%012[1]d","resourceVersion":"%[1]d",
	"creationTimestamp":"2026-01-02T03:04:05Z","finalizers":["kubernetes.io/pvc-protection"],"labels":{"app.kubernetes.io/name":"db","app.kubernetes.io/instance":"shop"},
	"annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes","volume.kubernetes.io/storage-provisioner":"ebs.csi.aws.com"},%[2]s},
	"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"10Gi"}},"storageClassName":"gp3","volumeMode":"Filesystem","volumeName":"pv-data-%[1]d"},
	"status":{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"10Gi"}}}`, i, diskManagers)
}

// VolumeID implements snapshot.Snapshotter.
func (m *manyDisks) VolumeID(pv *corev1.PersistentVolume) (string, error) {
	return pv.Spec.CSI.VolumeHandle, nil
}

// Disk implements snapshot.Snapshotter.
func (m *manyDisks) Disk(context.Context, string, string) (snapshot.Disk, error) {
	return snapshot.Disk{Type: "gp3"}, nil
}

// Create implements snapshot.Snapshotter.
func (m *manyDisks) Create(_ context.Context, r snapshot.CreateRequest) (string, error) {
	m.mu.Lock() // the others wait while this one is looked at
	defer m.mu.Unlock()
	if m.created++; m.onCut != nil {
		m.onCut(m.created)
	}
	return "snap-" + strings.TrimPrefix(r.VolumeID, "vol-"), nil
}

// State implements snapshot.Snapshotter.
func (m *manyDisks) State(context.Context, string) (snapshot.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked++; m.onState != nil {
		m.onState(m.asked)
	}
	if m.ready {
		return snapshot.State{Ready: true, Progress: 100}, nil
	}
	return snapshot.State{Progress: 42}, nil
}

// liveBytes is what is alive on the heap, and what stacks take.
func liveBytes() int64 {
	for range 2 { // pools let go at the second
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc + stats.StackInuse)
}

// moments are those of a backup at which memory is looked at.
var moments = []string{"before the first snapshot is cut", "when the last one is cut", "while they become ready"}

// heldBy are the bytes that a backup of n volumes has at each of the moments.
func heldBy(t *testing.T, n int) []int64 {
	t.Helper()
	m := newManyDisks(t, n)
	held := make([]int64, len(moments))
	before := liveBytes()
	m.onCut = func(i int) {
		switch i {
		case 1:
			held[0] = liveBytes() - before
		case n:
			held[1] = liveBytes() - before
		}
	}
	m.onState = func(i int) {
		if i == n { // all have been asked once and aren't ready
			held[2] = liveBytes() - before
			m.ready = true
		}
	}
	if summary := m.run(t.Context()); summary.Outcome != report.Completed {
		t.Fatalf("backup of %d volumes: %+v", n, summary)
	}
	return held
}

// TestMemoryOfAVolume isn't parallel: nothing else is to be on the heap.
func TestMemoryOfAVolume(t *testing.T) {
	// Some 1 KiB of the limit is for the records that go into the bucket in the end.
	const few, many, limit = 500, 3500, 5 << 10
	before, after := heldBy(t, few), heldBy(t, many)
	for i, moment := range moments {
		each := (after[i] - before[i]) / (many - few)
		t.Logf("%s: %d bytes per volume", moment, each)
		if each > limit {
			t.Errorf("%s a volume costs %d bytes, want at most %d", moment, each, limit)
		}
	}
}

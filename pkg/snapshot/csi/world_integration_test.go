//go:build integration

package csi

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// world is a driver, a namespace and a backup of the test's own.
type world struct {
	*testing.T
	*testenv.CSI
	client    *Client
	namespace string
	backup    *velerov1.Backup
}

func newWorld(t *testing.T, options testenv.CSIOptions) *world {
	t.Helper()
	t.Parallel()
	kubeconfig := testenv.Kubeconfig(t)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(config, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := client.core.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "taker-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, CSI: testenv.StartCSI(t, kubeconfig, options), client: client, namespace: namespace.Name}
	w.backup = &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{
		Name: "nightly", UID: types.UID("uid-of-" + w.namespace),
	}}
	return w
}

// claim makes a claim with a volume.
func (w *world) claim(name string, labels ...string) Claim {
	w.Helper()
	volume := w.Volume(w.T, w.namespace, name, "1Gi", labels...)
	pvc, err := w.client.core.CoreV1().PersistentVolumeClaims(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	pv, err := w.client.core.CoreV1().PersistentVolumes().Get(w.Context(), volume.PV, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return Claim{PVC: pvc, PV: pv}
}

// claims makes n claims: data-0 and so on.
func (w *world) claims(n int, labels ...string) []Claim {
	w.Helper()
	var claims []Claim
	for i := range n {
		claims = append(claims, w.claim(fmt.Sprintf("data-%d", i), labels...))
	}
	return claims
}

// taker makes the backup's Taker.
func (w *world) taker(o Options) *Taker {
	w.Helper()
	if o.Cut == 0 {
		o.Cut = time.Minute
	}
	if o.Ready == 0 {
		o.Ready = 5 * time.Minute // csi-snapshotter forgets some, and is reminded every half a minute
	}
	taker, err := w.client.NewTaker(w.Context(), w.backup, o)
	if err != nil {
		w.Fatal(err)
	}
	taker.grace = time.Second
	return taker
}

// cut cuts, and waits for the snapshots that are to be fine.
func (w *world) cut(taker *Taker, claims ...Claim) []*Snapshot {
	w.Helper()
	snapshots, err := taker.Cut(w.Context(), claims)
	if err != nil {
		w.Fatal(err)
	}
	return snapshots
}

func (w *world) wait(taker *Taker) []*Snapshot {
	w.Helper()
	snapshots, err := taker.Wait(w.Context(), 0)
	if err != nil {
		w.Fatal(err)
	}
	return snapshots
}

// must stops the test at an error.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// stored checks how many snapshots the driver has.
func (w *world) stored(want int) {
	w.Helper()
	if got := w.Snapshots(w.T); len(got) != want {
		w.Errorf("the driver has %d snapshots, want %d: %v", len(got), want, got)
	}
}

// noObjects checks that nothing is left in the cluster of what concerns the driver.
func (w *world) noObjects() {
	w.Helper()
	var left []string
	contents, err := w.client.contents().List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, content := range contents.Items {
		if content.Spec.Driver == w.Driver {
			left = append(left, "content "+content.Name)
		}
	}
	snapshots, err := w.client.volumeSnapshots(w.namespace).List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, vs := range snapshots.Items {
		left = append(left, "snapshot "+vs.Name)
	}
	api, err := w.client.findGroupAPI(w.Context())
	w.must(err)
	groups, err := api.snapshots(w.client).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for _, g := range groups.Items {
		left = append(left, "group "+g.GetName())
	}
	groupContents, err := api.contents(w.client).List(w.Context(), metav1.ListOptions{})
	w.must(err)
	for i := range groupContents.Items {
		if spec, _ := groupContents.Items[i].Object["spec"].(map[string]any); spec["driver"] == w.Driver {
			left = append(left, "group content "+groupContents.Items[i].GetName())
		}
	}
	if len(left) > 0 {
		w.Errorf("left in the cluster: %v", left)
	}
}

// eventually looks until a condition holds, for two minutes.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	if err := poll(ctx, 20*time.Millisecond, time.Second, func() (bool, error) { return holds(), nil }); err != nil {
		w.Fatalf("%s: %v", what, err)
	}
}

// errsOf are the errors of snapshots, by claim.
func errsOf(snapshots []*Snapshot) map[string]string {
	errs := map[string]string{}
	for _, s := range snapshots {
		if s.Err != nil {
			errs[s.Claim] = s.Err.Error()
		}
	}
	return errs
}

// archived are the objects that the archive gets, by kind and name.
func (w *world) archived(taker *Taker) map[string][]byte {
	w.Helper()
	archived := map[string][]byte{}
	for object, err := range taker.Objects(w.Context()) {
		w.must(err)
		key := object.Kind + " " + object.Name
		if archived[key] != nil {
			w.Errorf("%s comes twice", key)
		}
		archived[key] = object.JSON
	}
	return archived
}

// handles are what a deletion finds in the archive, in the order of the contents' names.
func (w *world) handles(taker *Taker) []Handle {
	w.Helper()
	archived := w.archived(taker)
	var handles []Handle
	for _, key := range slices.Sorted(maps.Keys(archived)) {
		if !strings.HasPrefix(key, KindContent+" ") {
			continue
		}
		var content snapshotv1.VolumeSnapshotContent
		w.must(decode(archived[key], &content))
		handle, err := HandleOf(&content)
		w.must(err)
		handles = append(handles, handle)
	}
	return handles
}

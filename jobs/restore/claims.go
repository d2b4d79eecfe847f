package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// claim is one whose volume is made from a CSI snapshot.
type claim struct {
	place ref.Object // in the cluster
	// snapshot is the name, in this restore, of its VolumeSnapshot and the content.
	snapshot string
	// info is what the backup says of its volume; nil when it says nothing.
	info *volume.Info
	// driver is the CSI driver that the snapshot is of; empty when that isn't known.
	driver string
	// obstacle is why its volume can't be made, as far as that was known when the
	// claim was made; it has been reported.
	obstacle bool
	// created says that the restore made the claim.
	created bool
	// trouble is why the last look at it, when it had its volume, came to nothing.
	trouble error
}

// claims are those whose volumes are made from CSI snapshots. The zero value is ready; it is
// safe for concurrent use.
type claims struct {
	mu sync.Mutex
	// all has them by the names of their snapshots: several of the backup may become
	// one claim of the cluster.
	all map[string]*claim
}

// settle notes what became of a claim.
func (c *claims) settle(r result) {
	if r.claim == nil {
		return
	}
	r.claim.created = r.action == actionCreated
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]*claim{}
	}
	c.all[r.claim.snapshot] = r.claim
}

// list returns all in the order of their names.
func (c *claims) list() []*claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*claim
	for _, claim := range c.all {
		list = append(list, claim)
	}
	slices.SortFunc(list, func(a, b *claim) int {
		return cmp.Or(strings.Compare(a.place.String(), b.place.String()), strings.Compare(a.snapshot, b.snapshot))
	})
	return list
}

// noteData adds to the result of an object what is to be done about its data.
func (o *operation) noteData(ctx context.Context, obj *transform.Object, from transform.Place, decision transform.Decision, r result) result {
	switch from.Resource {
	case transform.PersistentVolumes:
		if decision.Disk {
			r.disk = &diskSource{name: from.Name, claim: claimOf(obj)}
		}
	case transform.VolumeSnapshotContents:
		o.snapshots.noteDriver(obj)
		if m, ok := memberOf(obj); ok && o.preview == nil {
			switch err := o.groups.ensure(ctx, m); {
			case err != nil && cluster.MayPass(err):
				r.retry = err
			case err != nil:
				r.errors = append(r.errors, err)
			}
		}
	case transform.Claims:
		if decision.FromSnapshot != "" {
			return o.noteClaim(ctx, obj, from, decision.FromSnapshot, r)
		}
	}
	return r
}

// noteClaim is noteData for a claim whose volume is made from a snapshot.
func (o *operation) noteClaim(ctx context.Context, obj *transform.Object, from transform.Place, snapshot string, r result) result {
	c := &claim{place: r.place, info: o.source.saved.claims[from], snapshot: o.snapshotName(from.Namespace, snapshot)}
	if c.info != nil && c.info.CSI != nil {
		c.driver = c.info.CSI.Driver
	}
	c.driver = cmp.Or(c.driver, o.snapshots.driverOf(c.snapshot))
	r.claim = c
	err := o.snapshots.obstacle(ctx, obj, c.driver)
	if err == nil {
		return r
	}
	if errors.As(err, new(noClass)) && o.preview == nil && o.queue.holds(storageClassKind) {
		o.snapshots.forgetClasses()
		r.retry = err
		return r
	}
	c.obstacle = true
	if !o.snapshots.fillsOthers(ctx, obj, c.driver) {
		r.errors = append(r.errors, fmt.Errorf("its data isn't restored as long as this is so: %w", err))
		return r
	}
	r.errors = append(r.errors, fmt.Errorf("its data isn't restored: %w; the claim stays without a volume, rather than with an empty one: "+
		"delete it when this is mended, and restore again", err))
	if err := standStill(obj, c.snapshot); err != nil {
		return r.failed(err)
	}
	return r
}

// standStill keeps everybody from making a volume for a claim: it names one that
// nobody has.
func standStill(obj *transform.Object, snapshot string) error {
	spec, err := obj.Edit("spec")
	if spec != nil {
		spec["volumeName"] = nobodys(snapshot)
	}
	return err
}

// nobodys is the name of a volume that nobody has.
func nobodys(snapshot string) string { return "not-restored-" + snapshot }

// meetClaim deals with a claim that is there: it keeps the volume that it has.
func meetClaim(ctx context.Context, o *operation, obj, live *transform.Object, r result) result {
	if r.claim == nil {
		return o.compare(ctx, obj, live, r)
	}
	var spec struct{ DataSource struct{ Name string } }
	if err := live.Read("spec", &spec); err != nil {
		return r.failed(err)
	}
	if spec.DataSource.Name == r.claim.snapshot { // of several that become one it is the one that was made
		return o.resume(ctx, obj, live.Applied(), live.UID(), r)
	}
	if err := keepVolume(obj, live); err != nil {
		return r.failed(err)
	}
	r.warnings = append(r.warnings, errClaimStays)
	return o.compare(ctx, obj, live, r)
}

var errClaimStays = errors.New("its data isn't restored from the snapshot: the cluster has the claim; " +
	"hint: delete it first, or restore into another namespace with --namespace-mappings")

// keepVolume makes what a claim says of its volume what the live one says.
func keepVolume(obj, live *transform.Object) error {
	have, err := live.Edit("spec")
	if err != nil {
		return err
	}
	want, err := obj.Edit("spec")
	if err != nil || want == nil {
		return err
	}
	for _, field := range []string{"volumeName", "dataSource", "dataSourceRef", "resources"} {
		if value, ok := have[field]; ok {
			want[field] = value
		} else {
			delete(want, field)
		}
	}
	return nil
}

// claimFailed reports why a claim has no volume with its data.
func (o *operation) claimFailed(c *claim, err error) {
	o.report.Add(report.Error, c.place, err)
	o.Log.Error("claim without its data", "namespace", c.place.Namespace, "name", c.place.Name, "error", err)
}

func (o *operation) claimWarning(c *claim, err error) {
	o.report.Add(report.Warning, c.place, err)
	o.Log.Warn("claim not bound", "namespace", c.place.Namespace, "name", c.place.Name, "error", err)
}

// claimsV1 are claims in the version that the restore knows.
var (
	claimsV1  = transform.Claims.WithVersion("v1")
	volumesV1 = transform.PersistentVolumes.WithVersion("v1")
)

// selectedNode is, on a claim that waits for a pod, the node of the one that came.
const selectedNode = "volume.kubernetes.io/selected-node"

// waitsForPod reports whether a claim waits until a pod that uses it is scheduled, and
// none is yet.
func waitsForPod(pvc *corev1.PersistentVolumeClaim, late map[string]bool) bool {
	return late[liveClass(pvc)] && pvc.Annotations[selectedNode] == ""
}

// liveClass is the storage class of a claim of the cluster; empty for none.
func liveClass(pvc *corev1.PersistentVolumeClaim) string {
	if class := pvc.Annotations[corev1.BetaStorageClassAnnotation]; class != "" || pvc.Spec.StorageClassName == nil {
		return class
	}
	return *pvc.Spec.StorageClassName
}

// slim is what the wait needs of a claim.
func slim(pvc *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	out, class := &corev1.PersistentVolumeClaim{}, liveClass(pvc)
	out.Namespace, out.Name, out.Annotations = pvc.Namespace, pvc.Name, map[string]string{selectedNode: pvc.Annotations[selectedNode]}
	out.Spec.StorageClassName, out.Spec.VolumeName, out.Status.Phase = &class, pvc.Spec.VolumeName, pvc.Status.Phase
	return out
}

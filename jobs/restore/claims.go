package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

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
	// obstacle is why its volume can't be made, as far as that was known when the
	// claim was made; it has been reported.
	obstacle bool
	// created says that the restore made the claim.
	created bool
}

// claims are those whose volumes are made from CSI snapshots. The zero value is ready; it is
// safe for concurrent use.
type claims struct {
	mu  sync.Mutex
	all map[ref.Object]*claim
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
		c.all = map[ref.Object]*claim{}
	}
	c.all[r.claim.place] = r.claim
}

// list returns all in the order of their names.
func (c *claims) list() []*claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*claim
	for _, claim := range c.all {
		list = append(list, claim)
	}
	slices.SortFunc(list, func(a, b *claim) int { return strings.Compare(a.place.String(), b.place.String()) })
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
		if m, ok := memberOf(obj); ok && o.preview == nil {
			if err := o.groups.ensure(ctx, m); err != nil {
				r.errors = append(r.errors, err)
			}
		}
	case transform.Claims:
		if decision.FromSnapshot == "" {
			return r
		}
		info := o.source.saved.claims[from]
		r.claim = &claim{place: r.place, info: info, snapshot: o.snapshotName(from.Namespace, decision.FromSnapshot)}
		driver := ""
		if info != nil && info.CSI != nil {
			driver = info.CSI.Driver
		}
		if err := o.snapshots.obstacle(ctx, obj, driver); err != nil {
			r.claim.obstacle = true
			r.errors = append(r.errors, fmt.Errorf("its data isn't restored as long as this is so: %w", err))
		}
	}
	return r
}

// meetClaim deals with a claim that is there: it keeps the volume that it has.
func meetClaim(ctx context.Context, o *operation, obj, live *transform.Object, r result) result {
	if r.claim == nil {
		return o.compare(ctx, obj, live, r)
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

// waitsForPod reports whether a claim waits until a pod uses it, and none does yet.
func waitsForPod(pvc *corev1.PersistentVolumeClaim, late map[string]bool) bool {
	return pvc.Spec.StorageClassName != nil && late[*pvc.Spec.StorageClassName] && pvc.Annotations[selectedNode] == ""
}

// slim is what the wait needs of a claim.
func slim(pvc *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	out := &corev1.PersistentVolumeClaim{}
	out.Namespace, out.Name, out.Annotations = pvc.Namespace, pvc.Name, map[string]string{selectedNode: pvc.Annotations[selectedNode]}
	out.Spec.StorageClassName, out.Spec.VolumeName, out.Status.Phase = pvc.Spec.StorageClassName, pvc.Spec.VolumeName, pvc.Status.Phase
	return out
}

package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// candidates are the volumes of selected namespaces that a snapshot could be taken
// of. Of all others only a trace is kept, by which a volume is known to have been
// looked at.
type candidates struct {
	volumes map[string]candidate
	others  map[uint64]struct{}
	seed    maphash.Seed
}

// candidate is one of them. There may be thousands, and an object is several times as
// large as its JSON.
type candidate struct {
	// facts is the JSON of what decisions look at.
	facts []byte
	// stored says that the backup will hold the volume.
	stored bool
}

func newCandidate(pv *corev1.PersistentVolume, stored bool) (candidate, error) {
	facts, err := json.Marshal(volumeFacts(pv))
	if err != nil {
		return candidate{}, fmt.Errorf("encode volume %q: %w", pv.Name, err)
	}
	return candidate{facts: facts, stored: stored}, nil
}

// volumeFacts is a volume without what no decision about its data depends on.
func volumeFacts(pv *corev1.PersistentVolume) *corev1.PersistentVolume {
	facts := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: pv.Name, Labels: pv.Labels}, Spec: pv.Spec}
	if claim := pv.Spec.ClaimRef; claim != nil {
		facts.Spec.ClaimRef = &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name}
	}
	return facts
}

func (c candidate) volume() (*corev1.PersistentVolume, error) {
	var pv corev1.PersistentVolume
	if err := json.Unmarshal(c.facts, &pv); err != nil {
		return nil, fmt.Errorf("decode volume: %w", err)
	}
	return &pv, nil
}

// readVolumes looks at all volumes of the cluster, once, so that a claim can be told
// to need a snapshot as it is read. A failure means that none can.
func (c *collector) readVolumes(ctx context.Context) *candidates {
	if c.candidates != nil || !c.snapshots.takeAny() {
		return c.candidates
	}
	c.candidates = &candidates{volumes: map[string]candidate{}, others: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	for _, k := range c.versions(volumeResource) {
		if !k.preferred {
			continue
		}
		err := c.lister.List(ctx, k.Resource, cluster.ListOptions{}, func(obj cluster.Object) error {
			c.candidate(k, obj)
			return nil
		})
		if err != nil && ctx.Err() == nil {
			c.report.Add(report.Error, ref.Object{Resource: k.GroupVersionResource}, fmt.Errorf("no claim's data is saved: %w", err))
		}
	}
	return c.candidates
}

// candidate notes one volume. One that can't be read is told where it is stored.
func (c *collector) candidate(k *kind, obj cluster.Object) {
	var pv corev1.PersistentVolume
	if json.Unmarshal(obj.Raw, &pv) != nil || !c.snapshots.concerns(&pv) || pv.Spec.ClaimRef == nil || !c.selects(pv.Spec.ClaimRef.Namespace) {
		c.candidates.settle(obj.Name)
		return
	}
	found, err := newCandidate(&pv, c.storesVolume(k, obj))
	if err != nil {
		c.candidates.settle(obj.Name)
		return
	}
	c.candidates.volumes[obj.Name] = found
}

// settle notes that nothing is to be decided about the volume any more.
func (c *candidates) settle(name string) {
	delete(c.volumes, name)
	c.others[maphash.String(c.seed, name)] = struct{}{}
}

// seen reports whether the volume was there when the volumes were read.
func (c *candidates) seen(name string) bool {
	if _, ok := c.volumes[name]; ok {
		return true
	}
	_, other := c.others[maphash.String(c.seed, name)]
	return other
}

// storesVolume reports whether the backup will hold a volume whose claim it holds.
func (c *collector) storesVolume(k *kind, obj cluster.Object) bool {
	if c.barred(k, obj) != "" {
		return false
	}
	return c.filter.ClusterAdditional(volumeResource) || k.wanted && c.unselected(k, obj) == ""
}

// volumeOfClaim returns the volume that a claim is bound to, if a snapshot could be taken
// of it; nil when none could, or it was asked for before. stored says that the backup
// will hold it.
func (c *collector) volumeOfClaim(ctx context.Context, name string) (pv *corev1.PersistentVolume, stored bool, err error) {
	all := c.readVolumes(ctx)
	if all == nil {
		return nil, false, nil
	}
	if !all.seen(name) { // it is newer than the list
		for _, k := range c.versions(volumeResource) {
			if !k.preferred {
				continue
			}
			_, err := c.getOne(ctx, k, place{name: name}, func(obj cluster.Object) error {
				c.candidate(k, obj)
				return nil
			})
			if err != nil {
				return nil, false, err
			}
		}
	}
	found, ok := all.volumes[name]
	if !ok {
		return nil, false, nil
	}
	all.settle(name)
	pv, err = found.volume()
	return pv, found.stored, err
}

// mayBeSnapshotted reports whether the claim is bound to a volume that a snapshot
// could be taken of, or that isn't known yet.
func (c *collector) mayBeSnapshotted(ctx context.Context, obj cluster.Object) bool {
	if !c.snapshots.takeAny() {
		return false
	}
	var claim claimFacts
	if json.Unmarshal(obj.Raw, &claim) != nil || !claim.bound() {
		return false
	}
	all := c.readVolumes(ctx)
	_, ok := all.volumes[claim.Spec.VolumeName]
	return ok || !all.seen(claim.Spec.VolumeName)
}

// decideClaim decides about the volume of a claim that the backup holds; nil when the
// volume is left to where volumes are stored, or was decided about before.
func (c *collector) decideClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) (*savedVolume, error) {
	if claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName == "" || c.volumes.byName[claim.Spec.VolumeName] != nil {
		return nil, nil
	}
	pv, stored, err := c.volumeOfClaim(ctx, claim.Spec.VolumeName)
	if err != nil || pv == nil {
		return nil, err
	}
	action, _ := c.request.policies.Match(policy.Volume{PV: pv, PVC: claim})
	return c.decide(claimRef(claim.Namespace, claim.Name), pv, claim, action, stored), nil
}

// decideVolume decides about a volume that no claim of the backup decided about.
func (c *collector) decideVolume(ctx context.Context, at ref.Object, pv *corev1.PersistentVolume, stored bool) *savedVolume {
	claim, err := c.claimOf(ctx, pv)
	if err != nil {
		c.report.Add(report.Error, at, err)
	}
	action, _ := c.request.policies.Match(policy.Volume{PV: pv, PVC: claim})
	return c.decide(at, pv, nil, action, stored)
}

// decide decides about one volume, tells what is wrong with that, and notes it.
func (c *collector) decide(at ref.Object, pv *corev1.PersistentVolume, pvc *corev1.PersistentVolumeClaim, action *policy.Action, stored bool) *savedVolume {
	spec := c.backup.Spec
	facts := volume.Facts{
		PV: pv, PVC: pvc, Action: action, SnapshotVolumes: spec.SnapshotVolumes, MoveData: isTrue(spec.SnapshotMoveData), Stored: stored,
	}
	if claim := pv.Spec.ClaimRef; claim != nil {
		if pod, ok := c.needs.fsClaims[place{claim.Namespace, claim.Name}]; ok {
			facts.FSBackup = &pod
		}
	}
	var location *snapshotLocation
	var disk string
	if c.snapshots != nil {
		facts.CSI = c.snapshots.state
		if pv.Spec.CSI != nil && pvc != nil {
			facts.CSIClass = c.snapshots.class(csi.Claim{PVC: pvc, PV: pv})
		}
		if location, disk, facts.NativeErr = c.snapshots.native(pv); location != nil {
			facts.Native = location.name
		}
	}
	decision := volume.Decide(facts)
	c.tell(at, facts, decision)
	saved := newSavedVolume(at, pv, pvc, decision)
	if decision.Method == volume.NativeSnapshot {
		saved.location, saved.disk = location, c.newDisk(location, disk, pv)
	}
	c.volumes.add(saved)
	return saved
}

// tellUnbound tells about a claim that isn't bound to a volume, where its data is
// wanted.
func (c *collector) tellUnbound(obj cluster.Object) {
	claim, err := readClaim(obj)
	if err != nil || claim.Status.Phase == corev1.ClaimBound && claim.Spec.VolumeName != "" {
		return
	}
	facts := volume.Facts{PVC: claim, SnapshotVolumes: c.backup.Spec.SnapshotVolumes}
	facts.Action, _ = c.request.policies.Match(policy.Volume{PVC: claim})
	c.tell(claimRef(claim.Namespace, claim.Name), facts, volume.Decide(facts))
}

// tell reports what is wrong with a decision. What a pod asked for and doesn't get is
// told about the pod.
func (c *collector) tell(at ref.Object, facts volume.Facts, decision volume.Decision) {
	problem := decision.Problem
	if problem == nil || decision.Method == volume.PodVolumeBackup && facts.Action == nil {
		return
	}
	level := report.Warning
	if problem.Level == volume.Error {
		level = report.Error
	}
	c.report.Add(level, at, errors.New(problem.Text))
}

// claimOf returns the claim that a volume is bound to, as far as policies look at
// it; nil when there is none.
func (o *operation) claimOf(ctx context.Context, pv *corev1.PersistentVolume) (*corev1.PersistentVolumeClaim, error) {
	if !o.request.policies.HasVolumePolicies() || pv.Spec.ClaimRef == nil {
		return nil, nil
	}
	at := place{pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name}
	claim, err := o.Kube.CoreV1().PersistentVolumeClaims(at.namespace).Get(ctx, at.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read claim %s/%s of volume %q: %w", at.namespace, at.name, pv.Name, err)
	}
	return claim, nil
}

// hiddenVolumes tells about the volumes of stored claims that the backup itself
// doesn't hold, so that their data isn't passed over in silence either.
func (c *collector) hiddenVolumes(ctx context.Context) error {
	if c.snapshots == nil {
		return nil
	}
	hidden := places{}
	for at := range c.needs.missing(volumeResource, c.needs.volumes) {
		if c.volumes.byName[at.name] == nil {
			hidden[at] = true
		}
	}
	if len(hidden) == 0 {
		return nil
	}
	i := slices.IndexFunc(c.kinds, func(k *kind) bool { return k.GroupResource() == volumeResource && k.preferred })
	if i < 0 {
		return nil
	}
	err := c.lister.List(ctx, c.kinds[i].Resource, cluster.ListOptions{}, func(obj cluster.Object) error {
		var pv corev1.PersistentVolume
		if !hidden[placeOf(obj)] || json.Unmarshal(obj.Raw, &pv) != nil {
			return nil
		}
		c.decideVolume(ctx, c.nameOf(c.kinds[i], obj, &pv), &pv, false)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.report.Add(report.Error, ref.Object{Resource: c.kinds[i].GroupVersionResource}, fmt.Errorf("the data of %d claims isn't saved: %w", len(hidden), err))
		return nil
	}
	return err
}

// nameOf is what is said about a volume: its claim, where the backup holds that.
func (c *collector) nameOf(k *kind, obj cluster.Object, pv *corev1.PersistentVolume) ref.Object {
	if claim := pv.Spec.ClaimRef; claim != nil && c.needs.have[claimResource][place{claim.Namespace, claim.Name}] {
		return claimRef(claim.Namespace, claim.Name)
	}
	return refOf(k, obj)
}

func claimRef(namespace, name string) ref.Object {
	return ref.Object{Resource: claimResource.WithVersion("v1"), Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name}
}

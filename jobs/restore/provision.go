package restore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

const (
	// firstLook and slowestLook are the times between two looks at all claims that
	// wait for their volumes.
	firstLook   = 250 * time.Millisecond
	slowestLook = 5 * time.Second
	// claimsPage is how many claims are asked for at once.
	claimsPage = 500
	// remindEvery is how often csi-snapshotter is reminded of the snapshots that claims
	// wait for: one that wasn't ready at once it may look at again in minutes only.
	remindEvery = 20 * time.Second
	// podGrace is how long a claim that no pod mounts may wait for a pod to be
	// scheduled, unless claims may wait less than twice as long.
	podGrace = 15 * time.Second
)

// waitForClaims waits until the claims whose data comes from snapshots have their
// volumes, and gives these the labels and the reclaim policy that the volumes of the
// backup had. What can't get its volume is an error.
func (o *operation) waitForClaims(ctx context.Context) error {
	defer o.groups.drop(ctx)
	waiting := map[ref.Object]*claim{}
	for _, c := range o.claims.list() {
		switch {
		case !c.created: // the claim that exists needs no snapshot
			o.dropSnapshot(ctx, c)
		case c.obstacle:
			o.groups.need(c)
		case !o.snapshots.whole(c.snapshot):
			o.claimFailed(c, errors.New("its data isn't restored: its snapshot wasn't, which has an error of its own or is not in the archive; it stays without a volume"))
		default:
			waiting[c.place] = c
		}
	}
	if len(waiting) == 0 {
		return ctx.Err()
	}
	o.Log.Info("waiting for volumes", "claims", len(waiting))
	late := o.lateClasses(ctx)
	begin, delay := time.Now(), firstLook
	for reminded := begin; ; {
		o.groups.repair(ctx)
		claims, err := o.listClaims(ctx, waiting)
		if err != nil {
			o.Log.Warn("claims can't be looked at", "error", err)
		} else {
			o.meetVolumes(ctx, waiting, claims, late, time.Since(begin) > min(podGrace, o.ProvisionTimeout/2))
		}
		if len(waiting) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(begin) > o.ProvisionTimeout {
			o.giveUp(ctx, waiting)
			return ctx.Err()
		}
		if time.Since(reminded) > remindEvery {
			o.remind(ctx, waiting)
			reminded = time.Now()
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
		delay = min(delay*3/2, slowestLook)
	}
}

// reminder is an annotation on contents of snapshots that makes their csi-snapshotter
// look at them.
const reminder = "kubectl-velero.io/nudged"

// remind makes csi-snapshotter look at the snapshots of claims that wait.
func (o *operation) remind(ctx context.Context, waiting map[ref.Object]*claim) {
	patch := []byte(`{"metadata":{"annotations":{"` + reminder + `":"` + time.Now().UTC().Format(time.RFC3339) + `"}}}`)
	workers := &errgroup.Group{}
	workers.SetLimit(o.Workers)
	for _, c := range waiting {
		workers.Go(func() error {
			content := ref.Object{Resource: transform.VolumeSnapshotContents.WithVersion("v1"), Name: c.snapshot}
			if err := o.writer.MergePatch(ctx, content, patch); err != nil {
				o.Log.Warn("content of a snapshot can't be touched", "object", content.String(), "error", err)
			}
			return nil
		})
	}
	_ = workers.Wait() // it is no failure of the restore
}

// lateClasses are the storage classes whose volumes wait for a pod.
func (o *operation) lateClasses(ctx context.Context) map[string]bool {
	late := map[string]bool{}
	classes, err := o.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		o.Log.Warn("storage classes can't be listed", "error", err)
		return late
	}
	for _, class := range classes.Items {
		late[class.Name] = class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
	}
	return late
}

// listClaims returns those of the restore's claims that are waited for, by one list
// for all namespaces or, where that isn't allowed, by one for each.
func (o *operation) listClaims(ctx context.Context, waiting map[ref.Object]*claim) (map[ref.Object]*corev1.PersistentVolumeClaim, error) {
	var namespaces []string
	for place := range waiting {
		namespaces = append(namespaces, place.Namespace)
	}
	slices.Sort(namespaces)
	namespaces = slices.Compact(namespaces)
	if len(namespaces) > 1 {
		claims, err := o.claimsIn(ctx, waiting, metav1.NamespaceAll)
		if !apierrors.IsForbidden(err) {
			return claims, err
		}
	}
	return o.claimsIn(ctx, waiting, namespaces...)
}

func (o *operation) claimsIn(ctx context.Context, waiting map[ref.Object]*claim, namespaces ...string) (map[ref.Object]*corev1.PersistentVolumeClaim, error) {
	found := map[ref.Object]*corev1.PersistentVolumeClaim{}
	selector := labels.Set{velerov1.RestoreNameLabel: velerov1.ValidName(o.restore.Name)}.String()
	for _, namespace := range namespaces {
		options := metav1.ListOptions{LabelSelector: selector, Limit: claimsPage}
		for more := true; more; more = options.Continue != "" {
			list, err := o.Kube.CoreV1().PersistentVolumeClaims(namespace).List(ctx, options)
			if err != nil {
				return nil, fmt.Errorf("list claims in namespace %q: %w", namespace, err)
			}
			for i := range list.Items {
				pvc := &list.Items[i]
				place := ref.Object{Resource: claimsV1, Kind: "PersistentVolumeClaim", Namespace: pvc.Namespace, Name: pvc.Name}
				if waiting[place] != nil {
					found[place] = slim(pvc)
				}
			}
			options.Continue = list.Continue
		}
	}
	return found, nil
}

// meetVolumes takes out of those that wait the claims that have their volumes, or
// won't get them now.
func (o *operation) meetVolumes(ctx context.Context, waiting map[ref.Object]*claim, claims map[ref.Object]*corev1.PersistentVolumeClaim, late map[string]bool, patience bool) {
	var (
		used  map[ref.Object]bool
		mu    sync.Mutex
		again []*claim // nothing is known of their volumes yet
	)
	gone := o.addUnlisted(ctx, waiting, claims)
	if patience {
		used = o.usedClaims(ctx, claims, late)
	}
	bound := &errgroup.Group{}
	bound.SetLimit(o.Workers)
	for place, c := range waiting {
		pvc := claims[place]
		switch {
		case gone[place] != nil:
			o.claimFailed(c, gone[place])
			o.dropSnapshot(ctx, c)
		case pvc == nil:
			continue
		case pvc.Status.Phase == corev1.ClaimBound:
			bound.Go(func() error {
				if !o.bound(ctx, c, pvc) {
					mu.Lock()
					defer mu.Unlock()
					again = append(again, c)
				}
				return nil
			})
		case pvc.Spec.VolumeName == nobodys(c.snapshot):
			o.claimFailed(c, errors.New("its data isn't restored: an earlier attempt kept it without a volume; hint: delete it, and restore again"))
		case pvc.Status.Phase == corev1.ClaimLost:
			o.claimFailed(c, fmt.Errorf("its data isn't restored: its volume %q is lost", pvc.Spec.VolumeName))
		case patience && waitsForPod(pvc, late) && !used[place]:
			o.groups.need(c)
			o.claimWarning(c, fmt.Errorf("its volume is made when a pod uses it (storage class %q waits for that); the volume's labels and reclaim policy are not those of the backup then", liveClass(pvc)))
		default:
			continue
		}
		delete(waiting, place)
	}
	_ = bound.Wait() // each reports what goes wrong
	for _, c := range again {
		waiting[c.place] = c
	}
}

// addUnlisted adds to claims those that are waited for and that the list doesn't have.
// It returns why others won't come.
func (o *operation) addUnlisted(ctx context.Context, waiting map[ref.Object]*claim, claims map[ref.Object]*corev1.PersistentVolumeClaim) map[ref.Object]error {
	gone := map[ref.Object]error{}
	for place, c := range waiting {
		if claims[place] != nil {
			continue
		}
		pvc, err := o.unlisted(ctx, c)
		if err != nil {
			gone[place] = err
		} else if pvc != nil {
			claims[place] = pvc
		}
	}
	return gone
}

// unlisted looks for a claim that the list of the restore's claims doesn't have:
// somebody may have taken its labels. The claim is nil when nothing is known, and an
// error says that it is gone.
func (o *operation) unlisted(ctx context.Context, c *claim) (*corev1.PersistentVolumeClaim, error) {
	pvc, err := o.Kube.CoreV1().PersistentVolumeClaims(c.place.Namespace).Get(ctx, c.place.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, errors.New("its data isn't restored: it was deleted before it had a volume")
	case err != nil:
		o.Log.Warn("a claim can't be looked at", "namespace", c.place.Namespace, "name", c.place.Name, "error", err)
		return nil, nil
	case pvc.Spec.DataSource == nil || pvc.Spec.DataSource.Name != c.snapshot:
		return nil, errors.New("its data isn't restored: it was deleted before it had a volume, and somebody made another of its name")
	}
	return slim(pvc), nil
}

// bound finishes a claim that has its volume. It returns false when that is to be
// tried again.
func (o *operation) bound(ctx context.Context, c *claim, pvc *corev1.PersistentVolumeClaim) bool {
	pv, err := o.volumeFor(ctx, c, pvc)
	if ctx.Err() != nil || err != nil && cluster.MayPass(err) {
		c.trouble = err
		return false
	}
	if err != nil { // the snapshot's objects stay
		o.claimFailed(c, err)
		return true
	}
	if err := o.likeBefore(ctx, c, pv); err != nil {
		o.claimFailed(c, err)
	}
	o.restored.claim(c, pvc.Spec.VolumeName)
	o.dropSnapshot(ctx, c)
	o.Log.Info("claim has its volume", "namespace", c.place.Namespace, "name", c.place.Name, "volume", pvc.Spec.VolumeName)
	return true
}

// volumeFor returns the volume of a claim, if it can have been made from the snapshot.
func (o *operation) volumeFor(ctx context.Context, c *claim, pvc *corev1.PersistentVolumeClaim) (*corev1.PersistentVolume, error) {
	place := ref.Object{Resource: volumesV1, Kind: "PersistentVolume", Name: pvc.Spec.VolumeName}
	raw, err := o.writer.Get(ctx, place)
	if err != nil {
		return nil, fmt.Errorf("get its volume %q: %w", place.Name, err)
	}
	pv := &corev1.PersistentVolume{}
	if err := json.Unmarshal(raw, pv); err != nil {
		return nil, fmt.Errorf("decode its volume %q: %w", place.Name, err)
	}
	if owner := pv.Spec.ClaimRef; owner == nil || owner.Namespace != pvc.Namespace || owner.Name != pvc.Name {
		return nil, fmt.Errorf("its volume %q is bound to another claim", place.Name)
	}
	return pv, madeFor(cmp.Or(c.driver, o.snapshots.driverOf(c.snapshot)), pv)
}

// boundByController is, on a volume, the sign that Kubernetes has found it for a claim:
// a provisioner makes volumes that are the claim's from the beginning.
const boundByController = "pv.kubernetes.io/bound-by-controller"

// madeFor checks that a volume was made for its claim by the CSI driver that has the
// snapshot. Others make volumes too, and don't look at snapshots; and a volume that
// was free has the claim's class and size, and something else on it.
func madeFor(driver string, pv *corev1.PersistentVolume) error {
	const hint = "hint: delete the claim, see to it that %s, and restore again"
	if source := pv.Spec.CSI; source == nil || driver != "" && !strings.EqualFold(source.Driver, driver) {
		return fmt.Errorf("its data isn't restored: its volume %q isn't of CSI driver %q, which has the snapshot; "+
			hint, pv.Name, driver, "its storage class is one of that driver")
	}
	if pv.Annotations[boundByController] != "" {
		return fmt.Errorf("its data isn't restored: its volume %q was there before, and free; "+
			hint, pv.Name, "no such volume is free")
	}
	return nil
}

// likeBefore gives the volume of a claim the labels and the reclaim policy that the
// one in the backup had.
func (o *operation) likeBefore(ctx context.Context, c *claim, pv *corev1.PersistentVolume) error {
	if c.info == nil || c.info.PV == nil {
		return nil
	}
	place := ref.Object{Resource: volumesV1, Kind: "PersistentVolume", Name: pv.Name}
	patch := volumePatch(pv, c.info.PV.Labels, corev1.PersistentVolumeReclaimPolicy(c.info.PV.ReclaimPolicy))
	if len(patch) == 0 {
		return nil
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := o.writer.MergePatch(ctx, place, body); err != nil {
		return fmt.Errorf("give its volume %q the labels and reclaim policy of the backup: %w", place.Name, err)
	}
	return nil
}

// volumePatch is what makes a new volume like the one before. The labels that say
// where it is stay its own.
func volumePatch(pv *corev1.PersistentVolume, wanted map[string]string, policy corev1.PersistentVolumeReclaimPolicy) map[string]any {
	patch, changed := map[string]any{}, map[string]string{}
	for key, value := range wanted {
		if pv.Labels[key] != value && !strings.Contains(key, "topology.") && !strings.HasPrefix(key, "failure-domain.") && !ofRestore(key) {
			changed[key] = value
		}
	}
	if len(changed) > 0 {
		patch["metadata"] = map[string]any{"labels": changed}
	}
	if policy != "" && policy != pv.Spec.PersistentVolumeReclaimPolicy {
		patch["spec"] = map[string]any{"persistentVolumeReclaimPolicy": policy}
	}
	return patch
}

func ofRestore(label string) bool {
	return label == velerov1.BackupNameLabel || label == velerov1.RestoreNameLabel
}

// dropSnapshot removes a snapshot and its content, which nobody needs any more. The
// data stays with the backup: the content's policy is Retain.
func (o *operation) dropSnapshot(ctx context.Context, c *claim) {
	if !o.snapshots.anyOf(c.snapshot) {
		return
	}
	snapshot := ref.Object{Resource: transform.VolumeSnapshots.WithVersion("v1"), Namespace: c.place.Namespace, Name: c.snapshot}
	content := ref.Object{Resource: transform.VolumeSnapshotContents.WithVersion("v1"), Name: c.snapshot}
	for _, step := range []func() error{
		func() error { return o.writer.Delete(ctx, snapshot, "", "") },
		func() error { return o.writer.MergePatch(ctx, content, csi.UnboundPatch()) },
		func() error { return o.writer.Delete(ctx, content, "", "") },
	} {
		if err := step(); err != nil && !apierrors.IsNotFound(err) {
			o.Log.Warn("objects of a snapshot not removed", "snapshot", snapshot.String(), "content", content.Name, "error", err)
			return
		}
	}
}

// giveUp reports the claims that have no volume in time.
func (o *operation) giveUp(ctx context.Context, waiting map[ref.Object]*claim) {
	for _, c := range waiting {
		o.groups.need(c)
		if c.trouble != nil { // it has a volume
			o.claimFailed(c, c.trouble)
			continue
		}
		err := fmt.Errorf("its data isn't restored yet: it has no volume after %s", o.ProvisionTimeout)
		if reason := o.whyUnbound(ctx, c); reason != "" {
			err = fmt.Errorf("%w: %s", err, reason)
		}
		o.claimFailed(c, fmt.Errorf("%w; hint: it gets one when the cause is gone: kubectl describe pvc %s -n %s", err, c.place.Name, c.place.Namespace))
	}
}

// whyUnbound is what the cluster says about a claim that has no volume: the error of
// its snapshot, else the last event.
func (o *operation) whyUnbound(ctx context.Context, c *claim) string {
	content := ref.Object{Resource: transform.VolumeSnapshotContents.WithVersion("v1"), Name: c.snapshot}
	if text := o.snapshotError(ctx, content); text != "" {
		return "its snapshot: " + text
	}
	events, err := o.Kube.CoreV1().Events(c.place.Namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=PersistentVolumeClaim,involvedObject.name=" + c.place.Name,
	})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	last := slices.MaxFunc(events.Items, func(a, b corev1.Event) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), eventTime(a).Compare(eventTime(b))) // Warning is after Normal
	})
	return firstLine(errors.New(last.Reason + ": " + last.Message)).Error()
}

func eventTime(e corev1.Event) time.Time {
	if !e.LastTimestamp.IsZero() {
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}

// snapshotError is the error in the status of a snapshot's content; empty when it is
// usable or can't be read.
func (o *operation) snapshotError(ctx context.Context, place ref.Object) string {
	raw, err := o.writer.Get(ctx, place)
	if err != nil {
		if cluster.MayPass(err) {
			return ""
		}
		return err.Error()
	}
	var content struct {
		Status struct {
			ReadyToUse bool
			Error      struct{ Message string }
		}
	}
	if json.Unmarshal(raw, &content) != nil || content.Status.ReadyToUse {
		return ""
	}
	return content.Status.Error.Message
}

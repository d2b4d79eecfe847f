package csi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Claim is a claim to be snapshotted. Both are needed; the claim is bound to the
// volume, which is a CSI driver's.
type Claim struct {
	PVC *corev1.PersistentVolumeClaim
	PV  *corev1.PersistentVolume
}

// driver is that of the claim's volume; empty when that isn't a CSI driver's.
func (c Claim) driver() string {
	if c.PV == nil || c.PV.Spec.CSI == nil {
		return ""
	}
	return c.PV.Spec.CSI.Driver
}

// Snapshot is what a backup has to know of one that was begun. It is not changed any
// more once it was returned. The objects themselves are read again when they are
// stored: see Taker.Objects.
type Snapshot struct {
	// Namespace and Claim are the claim's.
	Namespace, Claim string
	// Name is that of the VolumeSnapshot, Content that of its VolumeSnapshotContent;
	// each is empty as long as there is none.
	Name, Content string
	// Driver is that of the volume. Class is what it was taken by; empty for a member
	// of a group.
	Driver, Class string
	// Handle is how the driver calls the snapshot; empty as long as there is none.
	Handle string
	// Group is the group snapshot that it is part of; nil for one of its own.
	Group *GroupSnapshot
	// RestoreSize is what a volume made from it needs at least, in bytes; 0 when the
	// driver doesn't say.
	RestoreSize int64
	// Ready reports whether a volume can be made from it; nil as long as the driver
	// hasn't said.
	Ready *bool
	// Secrets are those that its content and class name, without whose keys the driver
	// can't delete it or make a volume from it.
	Secrets []types.NamespacedName
	// Started and Ended are when it was asked for and when it was ready to use.
	Started metav1.Time
	Ended   *metav1.Time
	// Err says why there is no snapshot, or why it can't be used.
	Err error
}

// GroupSnapshot is a snapshot of several volumes, which its members share.
type GroupSnapshot struct {
	// Handle is how the driver calls it, Members are the handles of all its snapshots.
	Handle  string
	Members []string
}

// OperationID is how Velero calls the operation of a snapshot: three parts.
func (s *Snapshot) OperationID() string {
	return strings.Join([]string{s.Namespace, s.Name, s.Started.UTC().Format(time.RFC3339)}, "/")
}

// Options say how a Taker works.
type Options struct {
	// Cut is how long a driver may take to cut one; Ready how long it may take to
	// make it usable. Zero values mean Velero's: 10 minutes and 4 hours.
	Cut, Ready time.Duration
}

// Taker takes the snapshots of one backup. It is safe for concurrent use.
type Taker struct {
	client   *Client
	backup   *velerov1.Backup
	groupKey string
	classes  []snapshotv1.VolumeSnapshotClass
	// groupAPI is nil where there are no group snapshots.
	groupAPI     *groupAPI
	groupClasses []class
	options      Options
	// grace is how long an error about a snapshot that was cut may stand.
	grace time.Duration

	// ready counts those of taken that are ready to use.
	ready atomic.Int64

	mu           sync.Mutex
	taken        []*entry          // those that were cut
	doomed       []object          // what failed, on its way out
	doomedGroups []groupObject     // likewise
	groups       map[string]*group // by namespace/value of the label

	waiting sync.Mutex // held by Wait, which alone changes what was cut
}

// NewTaker reads the classes of the cluster. It changes nothing.
func (c *Client) NewTaker(ctx context.Context, backup *velerov1.Backup, o Options) (*Taker, error) {
	if backup.Name == "" || backup.UID == "" {
		return nil, errNoUID
	}
	t := &Taker{
		client: c, backup: backup,
		groupKey: cmp.Or(backup.Spec.VolumeGroupSnapshotLabelKey, velerov1.VolumeGroupLabel),
		options:  Options{Cut: cmp.Or(o.Cut, 10*time.Minute), Ready: cmp.Or(o.Ready, 4*time.Hour)},
		grace:    time.Minute,
		groups:   map[string]*group{},
	}
	var list *snapshotv1.VolumeSnapshotClassList
	err := retry(ctx, func() (err error) {
		list, err = c.snapshots.SnapshotV1().VolumeSnapshotClasses().List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list volume snapshot classes: %w", err)
	}
	for i := range list.Items {
		list.Items[i].ManagedFields = nil
	}
	t.classes = list.Items
	if t.groupAPI, err = c.findGroupAPI(ctx); err != nil {
		return nil, err
	}
	t.groupClasses, err = t.groupAPI.classes(ctx, c)
	return t, err
}

// CanTake says by an error why no class fits a claim's driver: what the user would
// have to change.
func (t *Taker) CanTake(claim Claim) error {
	if claim.driver() == "" {
		return errors.New("the volume isn't one of a CSI driver")
	}
	if t.groupOf(claim) != "" {
		_, err := t.groupClass(claim)
		return err
	}
	_, err := t.class(claim)
	return err
}

// class is the one to snapshot a claim by.
func (t *Taker) class(claim Claim) (*snapshotv1.VolumeSnapshotClass, error) {
	name, err := snapshotRules().choose(claim.driver(), claim.PVC, t.backup, snapshotClasses(t.classes))
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.classes, func(c snapshotv1.VolumeSnapshotClass) bool { return c.Name == name })
	return &t.classes[i], nil
}

// groupOf is the group that a claim is to be snapshotted with; empty for none.
func (t *Taker) groupOf(claim Claim) string { return claim.PVC.Labels[t.groupKey] }

// labels are those of a snapshot of a claim: the claim's own, and whose it is.
func (t *Taker) labels(of map[string]string) map[string]string {
	labels := owned(t.backup)
	for key, value := range of {
		if _, ours := labels[key]; !ours && key != velerov1.RestoreNameLabel {
			labels[key] = value
		}
	}
	return labels
}

// owned are the labels that say that something is a backup's.
func owned(backup *velerov1.Backup) map[string]string {
	return map[string]string{
		velerov1.BackupNameLabel: velerov1.ValidName(backup.Name),
		velerov1.BackupUIDLabel:  string(backup.UID),
	}
}

// Cut asks for a snapshot of each claim, all at once, and returns when each is cut
// (it has a creation time or a handle), has failed or has run out of time. The
// result has an element for each claim, in their order. What failed leaves nothing
// behind. Only the end of ctx is an error.
//
// A claim that bears the label of groups is cut with all others of its namespace
// that have the same value, in this call or an earlier one.
func (t *Taker) Cut(ctx context.Context, claims []Claim) ([]*Snapshot, error) {
	entries := make([]*entry, len(claims))
	for i, claim := range claims {
		entries[i] = t.prepare(claim)
	}
	t.begin(ctx, entries)
	if err := t.await(ctx, entries, stage{name: "cut", timeout: t.options.Cut, reached: (*entry).isCut}); err != nil {
		return nil, err
	}
	t.abandon(ctx, entries)
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshots := make([]*Snapshot, len(entries))
	for i, e := range entries {
		snapshots[i] = e.snapshot()
		if e.Err == nil {
			t.taken = append(t.taken, e)
		}
	}
	return snapshots, nil
}

// Wait returns all that were cut, in the order of their claims' names, when each is
// ready to use or has failed or run out of time, which is limit from now on; 0 means
// the options'. The data of what failed is deleted; that of a member of a group goes
// with its group, when none of that is of use.
func (t *Taker) Wait(ctx context.Context, limit time.Duration) ([]*Snapshot, error) {
	t.waiting.Lock()
	defer t.waiting.Unlock()
	t.mu.Lock()
	entries := slices.Clone(t.taken)
	t.mu.Unlock()
	ready := stage{name: "ready to use", timeout: cmp.Or(limit, t.options.Ready), since: time.Now(), reached: t.isReady}
	if err := t.await(ctx, entries, ready); err != nil {
		return nil, err
	}
	doomUseless(entries)
	t.abandon(ctx, entries)
	t.awaitDoomed(ctx)
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Claim, b.Claim))
	})
	snapshots := make([]*Snapshot, len(entries))
	for i, e := range entries {
		snapshots[i] = e.snapshot()
	}
	return snapshots, nil
}

// Progress says how many of those that were cut are ready to use, and of how many. It
// may be called at any time.
func (t *Taker) Progress() (ready, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.ready.Load()), len(t.taken)
}

// abandon lets go of the data of what failed: it is deleted as soon as the driver
// gets to it, which nobody waits for here.
func (t *Taker) abandon(ctx context.Context, entries []*entry) {
	var failed []object
	for _, e := range entries {
		if e.Err != nil && e.group == nil && !e.abandoned && e.Name != "" {
			e.abandoned = true
			failed = append(failed, e.asObject())
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	t.abandonGroups(ctx, entries)
	t.client.each(len(failed), func(i int) {
		if err := t.client.letGo(ctx, &failed[i], snapshotv1.VolumeSnapshotContentDelete); err != nil {
			t.client.log.Warn("a failed snapshot could not be removed yet", "namespace", failed[i].namespace, "name", failed[i].name, "error", err)
		}
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doomed = append(t.doomed, failed...)
}

// awaitDoomed gives what failed the time to go, and tells of what doesn't.
func (t *Taker) awaitDoomed(ctx context.Context) {
	t.mu.Lock()
	doomed, groups := t.doomed, t.doomedGroups
	t.doomed, t.doomedGroups = nil, nil
	t.mu.Unlock()
	r := t.client.remover()
	err := errors.Join(
		r.removeGroups(ctx, t.groupAPI, groups, snapshotv1.VolumeSnapshotContentDelete),
		r.remove(ctx, doomed, snapshotv1.VolumeSnapshotContentDelete))
	if err = errors.Join(err, r.err()); err != nil {
		t.client.log.Warn("failed snapshots are not gone yet", "error", err)
	}
}

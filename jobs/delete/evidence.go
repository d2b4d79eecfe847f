package delete

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// evidence is what is known about whose the files in the bucket are.
type evidence struct {
	name string
	// own are the clusters whose backups are deleted without force.
	own catalog.Ours
	// backup is the object in the cluster, claim and marker are those in the
	// bucket; each nil when there is none.
	backup *velerov1.Backup
	claim  *catalog.Claim
	marker *velerov1.Backup
	// claimant is the "namespace/name" of the Backup in this cluster whose claim
	// it is, when that isn't backup; empty when there is none.
	claimant string
	// empty says that the bucket holds nothing under the backup's name.
	empty bool
	force bool
}

// judge says whether the files are to be deleted. A note says why they are not,
// an error why nothing may be.
func (e evidence) judge() (files bool, note string, err error) {
	if e.backup == nil {
		return true, "", e.judgeWithoutRecord()
	}
	if neverSucceeded(e.backup) && !e.ours() {
		return false, "the files in the bucket belong to another backup of this name and stay", nil
	}
	if e.foreign() && !e.force {
		return false, "", e.refuseForeign()
	}
	return true, "", nil
}

func (e evidence) judgeWithoutRecord() error {
	switch {
	case e.empty:
		return refuse(
			fmt.Sprintf("backup %q doesn't exist: neither as an object in the cluster nor in the bucket", e.name),
			"check the name and the location",
		)
	case e.claimant != "":
		return refuse(
			fmt.Sprintf("the files belong to Backup %q of this cluster", e.claimant),
			"delete that one, with its namespace as -n",
		)
	case e.force:
		return nil
	case e.foreign():
		return e.refuseForeign()
	case e.claim == nil && e.marker != nil && !e.marker.Status.Phase.Terminal():
		return refuse(
			fmt.Sprintf("backup %q stands in phase %q in the bucket: a Velero server may be writing it", e.name, e.marker.Status.Phase),
			"if none does any more, use --force",
		)
	}
	return nil
}

func (e evidence) refuseForeign() error {
	return refuse(
		fmt.Sprintf("backup %q was made by another cluster (its kube-system namespace has UID %q)", e.name, e.cluster()),
		"delete it there, or use --force if that cluster needs it no more; if this one took its place, let it adopt the backups: backup-location adopt",
	)
}

// foreign reports whether another cluster made the files. Without a claim, and
// without a word in the marker, nobody knows, and Velero, which leaves neither,
// deletes from any cluster.
func (e evidence) foreign() bool {
	cluster := e.cluster()
	switch {
	case e.claim == nil && cluster == "":
		return false
	case e.own.Has(cluster):
		return false
	case e.claim == nil:
		return e.backup == nil || e.marker.UID != e.backup.UID
	}
	return e.backup == nil || e.claim.BackupUID != string(e.backup.UID)
}

// cluster is the id of the cluster that made the files; empty when they don't say.
func (e evidence) cluster() string {
	switch {
	case e.claim != nil:
		return e.claim.ClusterID
	case e.marker != nil:
		return e.marker.Annotations[velerov1.ClusterIDAnnotation]
	}
	return ""
}

// ours reports whether the files are the very run's of a backup that failed.
// Where neither claim nor marker says anything, there is at most a log.
func (e evidence) ours() bool {
	switch {
	case e.claim != nil:
		return e.claim.BackupUID == string(e.backup.UID)
	case e.marker != nil:
		return e.marker.UID == e.backup.UID
	}
	return true
}

// files opens the bucket and reports whether the files in it are to be deleted.
func (o *operation) files(ctx context.Context) (bool, error) {
	e, err := o.gather(ctx)
	if err != nil {
		return o.withoutBucket(ctx, err)
	}
	files, note, err := e.judge()
	if note != "" {
		o.warn(errors.New(note))
	}
	if err != nil || !files {
		return false, err
	}
	return true, o.planSnapshots(ctx, &e)
}

// gather opens the bucket and collects the evidence.
func (o *operation) gather(ctx context.Context) (evidence, error) {
	e := evidence{name: o.Backup, backup: o.backup, force: o.Force}
	err := o.findLocation(ctx)
	if err != nil {
		return e, err
	}
	if o.bucket, err = o.OpenStore(ctx, o.location); err != nil {
		return e, fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	o.catalog = catalog.New(o.bucket)
	err = o.readMaker(ctx, &e)
	if o.expired == nil || err != nil { // maintenance has just noted that all is well
		o.NoteLocation(ctx, o.location, err)
	}
	if err != nil {
		return e, err
	}
	id, err := o.ClusterID(ctx)
	if err != nil {
		return e, err
	}
	if e.own = catalog.OursIn(o.location, id); o.backup == nil {
		err = o.gatherWithoutRecord(ctx, &e)
	}
	return e, err
}

// readMaker reads what the bucket says about who made the files.
func (o *operation) readMaker(ctx context.Context, e *evidence) (err error) {
	if e.claim, err = o.claim(ctx); err != nil || e.claim != nil {
		return err
	}
	e.marker, err = o.marker(ctx)
	if err != nil && o.backup != nil && !neverSucceeded(o.backup) && !fromStore(err) {
		// A marker that is torn must not keep its backup for ever.
		o.warn(err)
		return nil
	}
	return err
}

// fromStore reports whether err is the store's, rather than about what it gave.
func fromStore(err error) bool {
	return store.Temporary(err) || errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNoBucket)
}

func (o *operation) claim(ctx context.Context) (*catalog.Claim, error) {
	claim, err := o.catalog.ReadClaim(ctx, o.Backup)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	return &claim, nil
}

// marker reads the commit marker; nil when there is none.
func (o *operation) marker(ctx context.Context) (*velerov1.Backup, error) {
	marker, err := o.catalog.ReadBackup(ctx, o.Backup)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage location %q: %w", o.location.Name, err)
	}
	return marker, nil
}

// gatherWithoutRecord looks at what stands in for the object.
func (o *operation) gatherWithoutRecord(ctx context.Context, e *evidence) error {
	if e.claim == nil {
		return o.lookForFiles(ctx, e)
	}
	list, err := o.Client.Backups(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups of all namespaces: %w", err)
	}
	for _, backup := range list.Items {
		if string(backup.UID) == e.claim.BackupUID {
			e.claimant = backup.Namespace + "/" + backup.Name
		}
	}
	return nil
}

func (o *operation) lookForFiles(ctx context.Context, e *evidence) error {
	e.empty = true
	for _, err := range o.bucket.List(ctx, folder(o.Backup)) {
		if err != nil {
			return fmt.Errorf("storage location %q: %w", o.location.Name, err)
		}
		e.empty = false
		break
	}
	return nil
}

// folder is the prefix of a backup's keys.
func folder(backup string) string { return "backups/" + backup + "/" }

package csi

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// entry is a snapshot on its way. One goroutine at a time works on it.
type entry struct {
	claim Claim
	class *snapshotv1.VolumeSnapshotClass
	group *group // nil for one of its own

	name    string    // of the VolumeSnapshot; empty as long as it isn't known
	uid     types.UID // of the VolumeSnapshot; empty as long as it isn't known
	object  *snapshotv1.VolumeSnapshot
	content *snapshotv1.VolumeSnapshotContent

	started     time.Time
	operationID string
	ended       time.Time // when it was ready, or failed
	err         error
	abandoned   bool

	// trouble is what the controllers last said went wrong, since when.
	trouble      string
	troubleSince time.Time
	// reminded is when csi-snapshotter was last reminded of its content.
	reminded time.Time
	// contentReady is when its content was first seen ready.
	contentReady time.Time
}

// fail ends an entry.
func (e *entry) fail(err error) {
	if e.err == nil {
		e.err, e.ended = err, time.Now()
	}
}

// observed takes note of what was read.
func (e *entry) observed(object *snapshotv1.VolumeSnapshot, content *snapshotv1.VolumeSnapshotContent) {
	e.object, e.uid, e.name = object, object.UID, object.Name
	if content != nil {
		e.content = content
	}
	trouble := ""
	if object.Status != nil {
		trouble = message(object.Status.Error)
	}
	if e.content != nil && e.content.Status != nil && e.content.Status.Error != nil {
		trouble = message(e.content.Status.Error)
	}
	if trouble == "" {
		e.trouble, e.troubleSince = "", time.Time{}
	} else if e.trouble = trouble; e.troubleSince.IsZero() {
		e.troubleSince = time.Now()
	}
}

// message is the text of an error in a status, empty for none.
func message(e *snapshotv1.VolumeSnapshotError) string {
	if e == nil || e.Message == nil {
		return ""
	}
	return strings.TrimSpace(*e.Message)
}

// isCut reports whether nothing that is written from now on gets into the
// snapshot, or fails the entry when that can't come about any more.
func (e *entry) isCut() bool {
	if e.handle() != "" || e.content != nil && e.object != nil && e.object.Status != nil && e.object.Status.CreationTime != nil {
		return true
	}
	if hopeless(e.trouble) {
		e.fail(fmt.Errorf("the driver refuses to take the snapshot: %s", e.trouble))
	}
	return false
}

func (e *entry) handle() string {
	if e.content == nil || e.content.Status == nil || e.content.Status.SnapshotHandle == nil {
		return ""
	}
	return *e.content.Status.SnapshotHandle
}

// settleTime is how long the VolumeSnapshot may lag behind its content.
const settleTime = 5 * time.Second

// isReady reports whether a volume can be made from the snapshot, or fails the
// entry when that will not come about.
func (t *Taker) isReady(e *entry) bool {
	if e.deleted() {
		e.fail(errDeleted)
		return false
	}
	if e.handle() != "" && e.content.Status.ReadyToUse != nil && *e.content.Status.ReadyToUse {
		if e.contentReady.IsZero() {
			e.contentReady = time.Now()
		}
		if isReady(e.object) || time.Since(e.contentReady) > settleTime {
			if e.ended.IsZero() {
				e.ended = time.Now()
			}
			return true
		}
		return false
	}
	if e.trouble != "" && time.Since(e.troubleSince) > t.grace {
		e.fail(fmt.Errorf("the snapshot was cut, but the driver can't make it usable: %s", e.trouble))
	}
	return false
}

func isReady(object *snapshotv1.VolumeSnapshot) bool {
	return object != nil && object.Status != nil && object.Status.ReadyToUse != nil && *object.Status.ReadyToUse
}

// errDeleted is the error about a snapshot that isn't there any more.
var errDeleted = errors.New("the snapshot was deleted while the backup ran")

// deleted reports whether somebody deleted the snapshot, with its data.
func (e *entry) deleted() bool {
	return e.object.DeletionTimestamp != nil && !e.kept() || e.content != nil && e.content.DeletionTimestamp != nil
}

// kept reports whether the data outlives the VolumeSnapshot, which goes with its
// namespace.
func (e *entry) kept() bool {
	return e.content != nil && e.content.Spec.DeletionPolicy == snapshotv1.VolumeSnapshotContentRetain
}

// withoutObject takes note of a VolumeSnapshot that isn't there any more: what was cut
// and kept is its content.
func (e *entry) withoutObject(s state) {
	if e.object == nil {
		return // not made yet
	}
	if e.kept() {
		if content := s.contents[e.content.Name]; content != nil {
			e.observed(e.object, content)
			return
		}
	}
	e.fail(errDeleted)
}

// timedOut is the error about one that took too long.
func (e *entry) timedOut(to stage) error {
	said := e.trouble
	switch {
	case said != "":
		said = "the last error is: " + said
	case e.object == nil || e.object.Status == nil || e.object.Status.BoundVolumeSnapshotContentName == nil:
		said = "no controller has taken notice of it; hint: see whether snapshot-controller runs"
	case e.handle() == "":
		said = fmt.Sprintf("the driver has not answered; hint: see whether driver %q and its csi-snapshotter run", e.claim.driver())
	default:
		said = "the driver reports no error"
	}
	return fmt.Errorf("the snapshot is not %s after %s: %s", to.name, to.timeout, said)
}

// asObject is what there is of it in the cluster.
func (e *entry) asObject() object {
	o := object{namespace: e.claim.PVC.Namespace, name: e.name, uid: e.uid, driver: e.claim.driver()}
	if e.content != nil {
		o.content = e.content.Name
	}
	return o
}

// snapshot is the entry as others see it.
func (e *entry) snapshot() *Snapshot {
	s := &Snapshot{
		Claim: e.claim, Object: e.object, Content: e.content, Class: e.class,
		OperationID: e.operationID, Started: metav1.NewTime(e.started), Err: e.err,
	}
	if e.group != nil {
		s.GroupHandle, s.GroupMembers = e.group.made()
	}
	if e.err == nil && !e.ended.IsZero() {
		ended := metav1.NewTime(e.ended)
		s.Ended = &ended
	}
	return s
}

// code finds the gRPC code in what a sidecar says of a driver's error.
var code = regexp.MustCompile(`\bcode = (\w+)`)

// hopeless reports whether waiting doesn't change a driver's mind. A sidecar keeps
// trying whatever the code is; but an application may be held still meanwhile.
func hopeless(trouble string) bool {
	found := code.FindStringSubmatch(trouble)
	if found == nil {
		return false
	}
	switch found[1] {
	case "InvalidArgument", "NotFound", "Unimplemented", "OutOfRange", "PermissionDenied", "Unauthenticated":
		return true
	}
	return false
}

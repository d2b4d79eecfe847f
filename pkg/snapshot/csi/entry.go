package csi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unique"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// entry is a snapshot on its way. One goroutine at a time works on it. It lives until
// the backup is committed, and there may be thousands: it keeps no object.
type entry struct {
	// Snapshot is what others get to see of it, but for Group and Ended.
	Snapshot

	class  *snapshotv1.VolumeSnapshotClass // nil for a member of a group
	group  *group                          // nil for one of its own
	labels unique.Handle[string]           // of the VolumeSnapshot; none for a member of a group
	uid    types.UID                       // of the VolumeSnapshot; empty as long as it isn't known

	// What was seen of the VolumeSnapshot, if it was seen at all, and of its content.
	seen, bound, cut, objectReady, objectDeleting bool
	kept, contentDeleting                         bool

	ended     time.Time // when it was ready, or failed
	abandoned bool

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
	if e.Err == nil {
		e.Err, e.ended = err, time.Now()
	}
}

// observed takes note of what was read.
func (e *entry) observed(object *snapshotFacts, content *contentFacts) {
	e.seen, e.bound, e.cut, e.objectReady, e.objectDeleting = true, object.content != "", object.cut, object.ready, object.deleting
	set(&e.uid, object.uid)
	set(&e.Name, object.name)
	if object.size != nil && e.RestoreSize == 0 {
		e.RestoreSize = *object.size
	}
	e.worry(object.trouble, content)
	if content == nil {
		return
	}
	set(&e.Content, content.name)
	set(&e.Driver, content.driver) // of the class, whose case may be another one
	set(&e.Handle, content.handle)
	e.kept, e.contentDeleting, e.Ready = content.policy == snapshotv1.VolumeSnapshotContentRetain, content.deleting, content.ready
	if content.size != nil {
		e.RestoreSize = *content.size
	}
	if named := secretsOf(content.annotations, e.class); !slices.Equal(named, e.Secrets) {
		e.Secrets = named
	}
}

// set keeps the string that is there already when it is the same: the other one came
// with all of its object's.
func set[S ~string](field *S, value S) {
	if *field != value {
		*field = value
	}
}

// worry takes note of what the controllers say went wrong.
func (e *entry) worry(trouble string, content *contentFacts) {
	if content != nil && content.trouble != "" {
		trouble = content.trouble
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
	if e.contentDeleting {
		e.fail(errDeleted)
		return false
	}
	if e.Handle != "" || e.Content != "" && e.cut {
		return true
	}
	if hopeless(e.trouble) {
		e.fail(fmt.Errorf("the driver refuses to take the snapshot: %s", e.trouble))
	}
	return false
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
	if e.Handle != "" && e.Ready != nil && *e.Ready {
		if e.contentReady.IsZero() {
			e.contentReady = time.Now()
		}
		if !e.objectReady && time.Since(e.contentReady) <= settleTime {
			return false
		}
		if e.ended.IsZero() {
			e.ended = time.Now()
			t.ready.Add(1)
		}
		return true
	}
	if e.trouble != "" && time.Since(e.troubleSince) > t.grace {
		e.fail(fmt.Errorf("the snapshot was cut, but the driver can't make it usable: %s", e.trouble))
	}
	return false
}

// errDeleted is the error about a snapshot that isn't there any more.
var errDeleted = errors.New("the snapshot was deleted while the backup ran")

// deleted reports whether somebody deleted the snapshot, with its data. Data that is
// kept outlives the VolumeSnapshot, which goes with its namespace.
func (e *entry) deleted() bool {
	return e.objectDeleting && !e.kept || e.contentDeleting
}

// withoutObject takes note of a VolumeSnapshot that isn't there any more: what was cut
// and kept is its content.
func (e *entry) withoutObject(s state) {
	if !e.seen {
		return // not made yet
	}
	if content := s.contents[e.Content]; content != nil && e.kept {
		e.observed(&snapshotFacts{
			name: e.Name, uid: e.uid, content: e.Content, cut: e.cut, ready: e.objectReady, deleting: e.objectDeleting,
		}, content)
		return
	}
	e.fail(errDeleted)
}

// timedOut is the error about one that took too long.
func (e *entry) timedOut(to stage) error {
	said := e.trouble
	switch {
	case said != "":
		said = "the last error is: " + said
	case !e.bound:
		said = "no controller has taken notice of it; hint: see whether snapshot-controller runs"
	case e.Handle == "":
		said = fmt.Sprintf("the driver has not answered; hint: see whether driver %q and its csi-snapshotter run", e.Driver)
	default:
		said = "the driver reports no error"
	}
	return fmt.Errorf("the snapshot is not %s after %s: %s", to.name, to.timeout, said)
}

// asObject is what there is of it in the cluster.
func (e *entry) asObject() object {
	return object{namespace: e.Namespace, name: e.Name, uid: e.uid, content: e.Content, driver: e.Driver}
}

// snapshot is the entry as others see it.
func (e *entry) snapshot() *Snapshot {
	s := e.Snapshot
	if e.group != nil {
		s.Group = e.group.made()
	}
	if e.Err == nil && !e.ended.IsZero() {
		ended := metav1.NewTime(e.ended)
		s.Ended = &ended
	}
	return &s
}

// policy is what the snapshot's class says is to become of the data with the object;
// empty where that isn't known. The content's own says that the backup keeps it.
func (e *entry) policy() snapshotv1.DeletionPolicy {
	switch {
	case e.class != nil:
		return e.class.DeletionPolicy
	case e.group != nil:
		return e.group.class.policy
	}
	return ""
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

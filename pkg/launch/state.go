package launch

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// CR is what a Backup or a Restore says about its operation, whichever of the
// two it is. The zero value means that the operation has no record.
type CR struct {
	// Kind is "Backup" or "Restore".
	Kind            string
	Namespace, Name string
	UID             types.UID
	ResourceVersion string
	// Phase is as written; Terminal is whether it is the last one.
	Phase    string
	Terminal bool
	// Reasons are why it failed, the most important first.
	Reasons          []string
	Warnings, Errors int
	// Total and Done count items; Total is 0 while it isn't known.
	Total, Done int
	// Snapshots counts the snapshots of volumes that were asked for, SnapshotsReady
	// those that can be used; Copied says how much of disks is copied, as "42%".
	Snapshots, SnapshotsReady int
	Copied                    string
	Created                   time.Time
	// Heartbeat is when the executor was last alive; zero before it started.
	Heartbeat time.Time
	// Committing is set from just before the commit marker is written.
	Committing bool
	// Ours is set when this program made the record, so a Velero server didn't.
	Ours bool
	// JobName and JobUID name the Job that says it works on this.
	JobName string
	JobUID  types.UID
}

// BackupCR reads a Backup.
func BackupCR(b *velerov1.Backup) CR {
	cr := crOf("Backup", &b.ObjectMeta)
	cr.Phase, cr.Terminal = string(b.Status.Phase), b.Status.Phase.Terminal()
	cr.Warnings, cr.Errors = b.Status.Warnings, b.Status.Errors
	if p := b.Status.Progress; p != nil {
		cr.Total, cr.Done = p.TotalItems, p.ItemsBackedUp
	}
	cr.Snapshots = b.Status.VolumeSnapshotsAttempted + b.Status.CSIVolumeSnapshotsAttempted
	cr.SnapshotsReady = b.Status.VolumeSnapshotsCompleted + b.Status.CSIVolumeSnapshotsCompleted
	cr.Copied = b.Annotations[velerov1.DisksCopiedAnnotation]
	cr.Reasons = reasons(b.Status.FailureReason, b.Status.ValidationErrors, b.Annotations)
	return cr
}

// RestoreCR reads a Restore.
func RestoreCR(r *velerov1.Restore) CR {
	cr := crOf("Restore", &r.ObjectMeta)
	cr.Phase, cr.Terminal = string(r.Status.Phase), r.Status.Phase.Terminal()
	cr.Warnings, cr.Errors = r.Status.Warnings, r.Status.Errors
	if p := r.Status.Progress; p != nil {
		cr.Total, cr.Done = p.TotalItems, p.ItemsRestored
	}
	cr.Reasons = reasons(r.Status.FailureReason, r.Status.ValidationErrors, r.Annotations)
	return cr
}

func crOf(kind string, meta *metav1.ObjectMeta) CR {
	cr := CR{
		Kind: kind, Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID,
		ResourceVersion: meta.ResourceVersion,
		Created:         meta.CreationTimestamp.Time,
		Committing:      meta.Annotations[velerov1.CommittingAnnotation] == "true",
		JobName:         meta.Annotations[velerov1.JobNameAnnotation],
		JobUID:          types.UID(meta.Annotations[velerov1.JobUIDAnnotation]),
	}
	// An unreadable beat counts as none: the Job and its pod decide then.
	if beat, err := time.Parse(time.RFC3339, meta.Annotations[velerov1.HeartbeatAnnotation]); err == nil {
		cr.Heartbeat = beat
	}
	for key := range meta.Annotations {
		cr.Ours = cr.Ours || strings.HasPrefix(key, domain)
	}
	return cr
}

// domain is that of the annotations that only this program writes.
const domain = "kubectl-velero.io/"

func reasons(failure string, validation []string, annotations map[string]string) []string {
	var all []string
	if failure != "" {
		all = append(all, failure)
	}
	all = append(all, validation...)
	if causes := annotations[velerov1.TopCausesAnnotation]; causes != "" {
		all = append(all, strings.Split(causes, "\n")...)
	}
	return all
}

// operation is the value of OperationLabel on this record's Job.
func (c CR) operation() string { return strings.ToLower(c.Kind) }

// State is everything the cluster knows about one operation at one moment.
type State struct {
	// Operation is one of velerov1's Operation constants.
	Operation string
	// CR is the record; Gone means that it no longer exists, and then CR is as
	// it was last seen.
	CR   CR
	Gone bool
	// Job is nil when there is none.
	Job *batchv1.Job
	// Pods are the Job's, the newest last; Events those of Job and pods.
	Pods   []corev1.Pod
	Events []corev1.Event
	// NodeLost says what is wrong with the newest pod's node; empty when it is
	// well or nothing is known.
	NodeLost string
	// Now is the moment, by the API server's clock.
	Now time.Time
	// StartTimeout is how long an operation may wait to be started before it
	// counts as failed; 0 means for ever.
	StartTimeout time.Duration
}

// Pod is the newest pod of the Job, nil when there is none.
func (s State) Pod() *corev1.Pod {
	if len(s.Pods) == 0 {
		return nil
	}
	return &s.Pods[len(s.Pods)-1]
}

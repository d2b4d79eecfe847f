package launch

import (
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Names that the installation and the executor agree on.
const (
	// TemplateName is the name of the PodTemplate that install makes, and
	// ContainerName that of its one container.
	TemplateName  = "velero"
	ContainerName = "executor"
	// MaintenanceName is the name of the CronJob that does the chores.
	MaintenanceName = "velero-maintenance"
	// ServiceAccount is the account of every Job but those of restores, and
	// RestoreServiceAccount is theirs.
	ServiceAccount        = "velero"
	RestoreServiceAccount = "velero-restore"
)

// Times of a Job when the Operation names none.
const (
	// DefaultDeadline is how long a Job may take.
	DefaultDeadline = 4 * time.Hour
	// DefaultTTL is how long an ended Job is kept; it must be longer than the
	// period of maintenance, which looks at Jobs that ended without a word.
	DefaultTTL = 24 * time.Hour
	// ShortTTL is the same for Jobs without a record: delete, preview and read.
	ShortTTL = 10 * time.Minute
)

// gracePeriodSeconds is what an executor has to tell why it was stopped, abort
// its uploads and save its log.
const gracePeriodSeconds = 120

// Operation is what a Job is to do.
type Operation struct {
	// Kind is one of velerov1's Operation constants.
	Kind string
	// Namespace is where Velero's objects live; Name is the name of the object
	// that is operated on.
	Namespace, Name string
	// Owner is the object in Namespace that the Job goes away with; may be nil.
	Owner *metav1.OwnerReference
	// UID is that of the Backup, Restore or Schedule, or a random id. It ends
	// the Job's name and is its operation-uid label.
	UID types.UID
	// ServiceAccount is the account to run as; empty means the template's, and
	// without one there ServiceAccount.
	ServiceAccount string
	// NoAPIToken keeps the account's API token out of the pod.
	NoAPIToken bool
	// Args are the executor's, such as "backup --name shop".
	Args []string
	// Env is added to the template's.
	Env []corev1.EnvVar
	// Location is the one that the Job opens: what MountsOf says of it is mounted
	// beside, or instead of, what the template has. Nil mounts nothing of its own.
	Location *velerov1.BackupStorageLocation
	// SnapshotLocations are those that the Job opens: their credentials are mounted.
	SnapshotLocations []velerov1.VolumeSnapshotLocation
	// TTL and Deadline replace the defaults when they aren't zero.
	TTL, Deadline time.Duration
	// Annotations are the Job's.
	Annotations map[string]string
}

// Job builds the Job of op from the installation's template, which is left as
// it is. The Job is one pod that is started at most twice. The executor's own
// exit codes of a final end are not tried again, a pod that was evicted is not
// held against the Job, and every container is as restricted as Pod Security's
// strictest profile asks for, also where the template forgot.
func Job(template *corev1.PodTemplate, op Operation) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: op.meta(JobName(op.Kind, op.Name, op.UID)),
		Spec:       jobSpec(template, op),
	}
}

// JobName is the name of the Job of an operation. It fits a label.
func JobName(operation, name string, uid types.UID) string {
	const maxName, uidDigits = 40, 8
	name = strings.TrimRight(name[:min(len(name), maxName)], "-.")
	return operation + "-" + name + "-" + string(uid[:min(len(uid), uidDigits)])
}

func (op Operation) meta(name string) metav1.ObjectMeta {
	meta := metav1.ObjectMeta{Namespace: op.Namespace, Name: name, Labels: op.labels(), Annotations: op.Annotations}
	if op.Owner != nil {
		meta.OwnerReferences = []metav1.OwnerReference{*op.Owner}
	}
	return meta
}

func (op Operation) labels() map[string]string {
	labels := map[string]string{
		velerov1.ComponentLabel: velerov1.ComponentValue,
		velerov1.OperationLabel: op.Kind,
	}
	if op.Name != "" {
		labels[velerov1.NameLabel] = velerov1.ValidName(op.Name)
	}
	if op.UID != "" {
		labels[velerov1.OperationUIDLabel] = string(op.UID)
	}
	return labels
}

func jobSpec(template *corev1.PodTemplate, op Operation) batchv1.JobSpec {
	return batchv1.JobSpec{
		Parallelism:             ptr.To[int32](1),
		Completions:             ptr.To[int32](1),
		BackoffLimit:            ptr.To[int32](1),
		ActiveDeadlineSeconds:   ptr.To(int64(or(op.Deadline, DefaultDeadline) / time.Second)),
		TTLSecondsAfterFinished: ptr.To(int32(or(op.TTL, op.defaultTTL()) / time.Second)),
		PodReplacementPolicy:    ptr.To(batchv1.Failed),
		PodFailurePolicy:        podFailurePolicy(),
		Template:                podTemplate(template, op),
	}
}

func (op Operation) defaultTTL() time.Duration {
	switch op.Kind {
	case velerov1.OperationDelete, velerov1.OperationPreview, velerov1.OperationRead:
		return ShortTTL
	}
	return DefaultTTL
}

// podFailurePolicy tells final ends from accidents: the executor's own codes
// end the Job at once, an eviction doesn't count, everything else counts
// against backoffLimit.
func podFailurePolicy() *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr.To(ContainerName),
				Operator:      batchv1.PodFailurePolicyOnExitCodesOpIn,
				Values:        finalExitCodes(),
			},
		},
		{
			Action: batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
				{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
			},
		},
	}}
}

// finalExitCodes are those with which trying again would not help, in
// ascending order as the API asks.
func finalExitCodes() []int32 {
	var codes []int32
	for _, o := range []report.Outcome{report.Usage, report.PartiallyFailed, report.Failed, report.Cancelled} {
		codes = append(codes, int32(o.ExitCode()))
	}
	return codes
}

// CronJob builds the CronJob that runs op whenever schedule is due in timeZone;
// an empty timeZone means UTC. A run that can't start is skipped while the one
// before still works, and is made up for within an hour.
func CronJob(template *corev1.PodTemplate, op Operation, schedule, timeZone string, suspend bool) *batchv1.CronJob {
	if timeZone == "" {
		timeZone = "Etc/UTC"
	}
	return &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"},
		ObjectMeta: op.meta(CronJobName(op.Name)),
		Spec: batchv1.CronJobSpec{
			Schedule:          schedule,
			TimeZone:          &timeZone,
			ConcurrencyPolicy: batchv1.ForbidConcurrent,
			Suspend:           &suspend,
			// Without it a CronJob that missed 100 runs never runs again.
			StartingDeadlineSeconds:    ptr.To[int64](3600),
			SuccessfulJobsHistoryLimit: ptr.To[int32](3),
			// A failed Job must still be there when maintenance, once an hour,
			// looks for those that ended without a word.
			FailedJobsHistoryLimit: ptr.To[int32](100),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: op.labels(), Annotations: op.Annotations},
				Spec:       jobSpec(template, op),
			},
		},
	}
}

// CronJobName is the name of the CronJob of a schedule. A CronJob's name has at
// most 52 characters; a longer one is cut and told apart by a hash.
func CronJobName(schedule string) string {
	const maxLength, hashDigits = 52, 6
	name := "schedule-" + schedule
	if len(name) <= maxLength {
		return name
	}
	return strings.TrimRight(name[:maxLength-hashDigits-1], "-.") + "-" + hashOf(name)[:hashDigits]
}

// Owner is the reference by which obj, of the given kind of velero.io/v1, owns
// a Job.
func Owner(kind, name string, uid types.UID) *metav1.OwnerReference {
	return &metav1.OwnerReference{
		APIVersion:         velerov1.SchemeGroupVersion.String(),
		Kind:               kind,
		Name:               name,
		UID:                uid,
		Controller:         ptr.To(true),
		BlockOwnerDeletion: ptr.To(false),
	}
}

func or(value, otherwise time.Duration) time.Duration {
	if value == 0 {
		return otherwise
	}
	return value
}

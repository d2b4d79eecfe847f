package describe

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// Backup is all that goes into the description of a Backup.
type Backup struct {
	Backup *velerov1.Backup
	// Program is how the user calls the program, for hints.
	Program  string
	Standing Standing
	// Results are its warnings and errors, ResourceList the objects in it,
	// Coverage what became of each kind.
	Results      Fetched[report.Results]
	ResourceList Fetched[map[string][]string]
	Coverage     Fetched[report.Coverage]
	// Volumes say what became of the data of each volume.
	Volumes Fetched[[]volume.Info]
	// Deletions are the requests to delete it.
	Deletions []velerov1.DeleteBackupRequest
}

// Write describes b as text.
func (b Backup) Write(w io.Writer) error {
	l := newLayout(w)
	l.metadata(&b.Backup.ObjectMeta)
	b.phase(l)
	backupContents(l, &b.Backup.Spec, b.Backup.Annotations)
	b.times(l)
	b.progress(l)
	l.coverage(b.Coverage)
	l.resourceList(b.ResourceList)
	b.volumes(l)
	if h := b.Backup.Status.HookStatus; h != nil {
		l.blank()
		l.hookStatus(h)
	}
	b.deletions(l)
	return l.flush()
}

func (b Backup) phase(l *layout) {
	status := b.Backup.Status
	phase := orElse(string(status.Phase), string(velerov1.BackupPhaseNew))
	if b.Backup.DeletionTimestamp != nil {
		phase += " (Deleting)"
	}
	if status.Phase == velerov1.BackupPhaseFailed || status.Phase == velerov1.BackupPhasePartiallyFailed {
		phase += fmt.Sprintf(" (run `%s backup logs %s` for more information)", b.Program, b.Backup.Name)
	}
	l.line("Phase", phase)
	if status.Phase == velerov1.BackupPhaseQueued {
		l.line("Queue position", status.QueuePosition)
	}
	b.Standing.write(l)
	l.blank()
	if p := b.Backup.Spec.ResourcePolicy; p != nil {
		l.head("Resource policies")
		l.inner().line("Type", p.Kind)
		l.inner().line("Name", p.Name)
		l.blank()
	}
	if u := b.Backup.Spec.UploaderConfig; u != nil && u.ParallelFilesUpload > 0 {
		l.head("Uploader config")
		l.inner().line("Parallel files upload", u.ParallelFilesUpload)
		l.blank()
	}
	validationErrors(l, status.ValidationErrors)
	l.results(status.Warnings, status.Errors, b.Results)
}

func validationErrors(l *layout, problems []string) {
	if len(problems) == 0 {
		return
	}
	l.line("Validation errors", strings.Join(problems, "\n"))
	l.blank()
}

// backupContents says what a backup holds: the part of the description that
// comes from the spec, and the annotations for what a spec has no fields for.
func backupContents(l *layout, spec *velerov1.BackupSpec, annotations map[string]string) {
	l.lists("Namespaces", spec.IncludedNamespaces, spec.ExcludedNamespaces, "*")
	l.blank()
	l.resources(filter.OfBackup(*spec))
	l.blank()
	l.objects(annotations)
	l.line("Label selector", metav1.FormatLabelSelector(spec.LabelSelector))
	l.blank()
	l.line("Or label selector", orSelectors(spec.OrLabelSelectors))
	l.blank()
	backupSettings(l, spec)
	hooks(l, spec.Hooks.Resources)
	l.blank()
	if len(spec.OrderedResources) > 0 {
		l.head("OrderedResources")
		for _, kind := range slices.Sorted(maps.Keys(spec.OrderedResources)) {
			l.inner().note(kind, spec.OrderedResources[kind])
		}
		l.blank()
	}
}

// backupSettings says where a backup goes and how it is made.
func backupSettings(l *layout, spec *velerov1.BackupSpec) {
	l.line("Storage Location", spec.StorageLocation)
	l.blank()
	l.line("Velero-Native Snapshot PVs", tristate(spec.SnapshotVolumes, "true", "false", "auto"))
	if spec.DefaultVolumesToFsBackup != nil {
		l.line("File System Backup (Default)", *spec.DefaultVolumesToFsBackup)
	}
	l.line("Snapshot Move Data", tristate(spec.SnapshotMoveData, "true", "false", "auto"))
	l.line("Data Mover", orElse(spec.DataMover, "velero"))
	l.blank()
	l.line("TTL", period(spec.TTL.Duration, defaultTTL))
	l.blank()
	l.line("CSISnapshotTimeout", period(spec.CSISnapshotTimeout.Duration, defaultCSISnapshotTimeout))
	l.line("ItemOperationTimeout", period(spec.ItemOperationTimeout.Duration, defaultItemOperationTimeout))
	l.blank()
}

func hooks(l *layout, specs []velerov1.BackupResourceHookSpec) {
	if len(specs) == 0 {
		l.line("Hooks", "<none>")
		return
	}
	l.head("Hooks")
	l.inner().head("Resources")
	for _, h := range specs {
		in := l.inner().inner()
		in.head(h.Name)
		in = in.inner()
		in.lists("Namespaces", h.IncludedNamespaces, h.ExcludedNamespaces, "*")
		in.lists("Resources", h.IncludedResources, h.ExcludedResources, "*")
		in.line("Label selector", metav1.FormatLabelSelector(h.LabelSelector))
		for _, exec := range h.PreHooks {
			execHook(in, "Pre Exec Hook", exec.Exec)
		}
		for _, exec := range h.PostHooks {
			execHook(in, "Post Exec Hook", exec.Exec)
		}
	}
}

func execHook(l *layout, label string, h *velerov1.ExecHook) {
	if h == nil {
		return
	}
	l.head(label)
	in := l.inner()
	in.line("Container", h.Container)
	in.line("Command", strings.Join(h.Command, " "))
	in.line("On Error", h.OnError)
	in.line("Timeout", h.Timeout.Duration)
}

func (b Backup) times(l *layout) {
	status := b.Backup.Status
	l.line("Backup Format Version", status.FormatVersion)
	l.blank()
	l.line("Started", timestamp(status.StartTimestamp))
	l.line("Completed", timestamp(status.CompletionTimestamp))
	l.blank()
	l.line("Expiration", timestamp(status.Expiration))
	l.blank()
}

func (b Backup) progress(l *layout) {
	status := b.Backup.Status
	if p := status.Progress; p != nil {
		if status.Phase == velerov1.BackupPhaseInProgress {
			l.line("Estimated total items to be backed up", p.TotalItems)
			l.line("Items backed up so far", p.ItemsBackedUp)
		} else {
			l.line("Total items to be backed up", p.TotalItems)
			l.line("Items backed up", p.ItemsBackedUp)
		}
		l.blank()
	}
	if n := status.BackupItemOperationsAttempted; n > 0 {
		l.line("Backup Item Operations", fmt.Sprintf("%d of %d completed successfully, %d failed",
			status.BackupItemOperationsCompleted, n, status.BackupItemOperationsFailed))
		l.blank()
	}
}

func (b Backup) deletions(l *layout) {
	if len(b.Deletions) == 0 {
		return
	}
	l.blank()
	heading := "Deletion Attempts"
	if n := failedDeletions(b.Deletions); n > 0 {
		heading = fmt.Sprintf("%s (%d failed)", heading, n)
	}
	l.head(heading)
	for _, d := range b.Deletions {
		in := l.inner()
		in.note(d.CreationTimestamp.String(), d.Status.Phase)
		if len(d.Status.Errors) > 0 {
			in.line("Errors", strings.Join(d.Status.Errors, "\n"))
		}
	}
}

func failedDeletions(requests []velerov1.DeleteBackupRequest) int {
	n := 0
	for _, d := range requests {
		if d.Status.Phase == velerov1.DeleteBackupRequestPhaseProcessed && len(d.Status.Errors) > 0 {
			n++
		}
	}
	return n
}

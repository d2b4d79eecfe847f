package describe

import (
	"fmt"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Restore is all that goes into the description of a Restore.
type Restore struct {
	Restore *velerov1.Restore
	// Program is how the user calls the program, for hints.
	Program  string
	Standing Standing
	// Results are its warnings and errors, ResourceList the objects and what
	// became of each.
	Results      Fetched[report.Results]
	ResourceList Fetched[map[string][]string]
	// Volumes are those whose data came back, and PodVolumes Velero's records of
	// those that are restored file by file, of which Details asks for each.
	Volumes    Fetched[[]RestoredVolume]
	PodVolumes []velerov1.PodVolumeRestore
	Details    bool
}

// Write describes r as text.
func (r Restore) Write(w io.Writer) error {
	l := newLayout(w)
	l.metadata(&r.Restore.ObjectMeta)
	r.phase(l)
	r.contents(l)
	r.podVolumes(l)
	r.csiVolumes(l)
	r.settings(l)
	r.progress(l)
	r.outcome(l)
	l.resourceList(r.ResourceList)
	return l.flush()
}

func (r Restore) phase(l *layout) {
	status := r.Restore.Status
	phase := orElse(string(status.Phase), string(velerov1.RestorePhaseNew))
	if r.Restore.DeletionTimestamp != nil {
		phase += " (Deleting)"
	}
	if status.Phase == velerov1.RestorePhaseFailed || status.Phase == velerov1.RestorePhasePartiallyFailed {
		phase += fmt.Sprintf(" (run `%s restore logs %s` for more information)", r.Program, r.Restore.Name)
	}
	l.line("Phase", phase)
	if p := status.Progress; p != nil {
		if status.Phase == velerov1.RestorePhaseInProgress {
			l.line("Estimated total items to be restored", p.TotalItems)
			l.line("Items restored so far", p.ItemsRestored)
		} else {
			l.line("Total items to be restored", p.TotalItems)
			l.line("Items restored", p.ItemsRestored)
		}
	}
	r.Standing.write(l)
	l.blank()
	l.line("Started", timestamp(status.StartTimestamp))
	l.line("Completed", timestamp(status.CompletionTimestamp))
	l.blank()
	validationErrors(l, status.ValidationErrors)
	l.results(status.Warnings, status.Errors, r.Results)
}

func (r Restore) contents(l *layout) {
	spec := r.Restore.Spec
	l.line("Backup", spec.BackupName)
	if spec.ScheduleName != "" {
		l.line("Schedule", spec.ScheduleName)
	}
	l.blank()
	l.lists("Namespaces", r.namespaces(), spec.ExcludedNamespaces, allNamespaces)
	l.blank()
	l.resources(filter.OfRestore(r.Restore))
	l.blank()
	l.objects(r.Restore.Annotations)
	l.pairs("Namespace mappings", spec.NamespaceMapping, "=")
	l.blank()
	l.line("Label selector", metav1.FormatLabelSelector(spec.LabelSelector))
	l.blank()
	l.line("Or label selector", orSelectors(spec.OrLabelSelectors))
	l.blank()
	l.line("Restore PVs", tristate(spec.RestorePVs, "true", "false", "auto"))
	l.blank()
	if s := spec.RestoreStatus; s != nil {
		l.lists("Restore Status", s.IncludedResources, s.ExcludedResources, "*")
		l.blank()
	}
}

const allNamespaces = "all namespaces found in the backup"

// namespaces are those that are chosen; none for all.
func (r Restore) namespaces() []string {
	if slices.Equal(r.Restore.Spec.IncludedNamespaces, []string{"*"}) {
		return nil
	}
	return r.Restore.Spec.IncludedNamespaces
}

func (r Restore) settings(l *layout) {
	spec := r.Restore.Spec
	l.line("Existing Resource Policy", orNone(string(spec.ExistingResourcePolicy)))
	l.line("ItemOperationTimeout", period(spec.ItemOperationTimeout.Duration, defaultItemOperationTimeout))
	if retryFor := r.Restore.Annotations[velerov1.RetryForAnnotation]; retryFor != "" {
		l.line("Retry For", retryFor)
	}
	if priorities := r.priorities(); len(priorities) > 0 {
		l.line("Resource Priorities", strings.Join(priorities, ", "))
	}
	l.blank()
	l.line("Preserve Service NodePorts", tristate(spec.PreserveNodePorts, "true", "false", "auto"))
	l.blank()
	if m := spec.ResourceModifier; m != nil {
		l.head("Resource modifier")
		l.inner().line("Type", m.Kind)
		l.inner().line("Name", m.Name)
		l.blank()
	}
	if u := spec.UploaderConfig; u != nil && (u.WriteSparseFiles != nil || u.ParallelFilesDownload > 0) {
		l.head("Uploader config")
		l.inner().line("Write Sparse Files", tristate(u.WriteSparseFiles, "true", "false", "auto"))
		l.inner().line("Parallel Restore", u.ParallelFilesDownload)
		l.blank()
	}
}

func (r Restore) priorities() []string {
	return velerov1.AnnotatedList(r.Restore, velerov1.ResourcePrioritiesAnnotation)
}

func (r Restore) progress(l *layout) {
	status := r.Restore.Status
	if status.RestoreItemOperationsAttempted > 0 {
		l.line("Restore Item Operations", itemOperations(status))
		l.blank()
	}
	if h := status.HookStatus; h != nil {
		l.hookStatus(h)
		l.blank()
	}
}

func itemOperations(status velerov1.RestoreStatus) string {
	return fmt.Sprintf("%d of %d completed successfully, %d failed",
		status.RestoreItemOperationsCompleted, status.RestoreItemOperationsAttempted, status.RestoreItemOperationsFailed)
}

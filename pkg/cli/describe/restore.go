package describe

import (
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
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
}

// Write describes r as text.
func (r Restore) Write(w io.Writer) error {
	l := newLayout(w)
	l.metadata(&r.Restore.ObjectMeta)
	r.phase(l)
	r.contents(l)
	r.settings(l)
	if h := r.Restore.Status.HookStatus; h != nil {
		l.line("HooksAttempted", h.HooksAttempted)
		l.line("HooksFailed", h.HooksFailed)
		l.blank()
	}
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
	l.blank()
	included := spec.IncludedNamespaces
	if len(included) == 1 && included[0] == "*" {
		included = nil
	}
	l.lists("Namespaces", included, spec.ExcludedNamespaces, "all namespaces found in the backup")
	l.blank()
	in := l.lists("Resources", spec.IncludedResources, spec.ExcludedResources, "*")
	in.line("Cluster-scoped", tristate(spec.IncludeClusterResources, "included", "excluded", "auto"))
	l.blank()
	l.pairs("Namespace mappings", spec.NamespaceMapping, "=")
	l.blank()
	l.line("Label selector", metav1.FormatLabelSelector(spec.LabelSelector))
	l.blank()
	l.line("Or label selector", orSelectors(spec.OrLabelSelectors))
	l.blank()
	l.line("Restore PVs", tristate(spec.RestorePVs, "true", "false", "auto"))
	l.blank()
}

func (r Restore) settings(l *layout) {
	spec := r.Restore.Spec
	l.line("Existing Resource Policy", orNone(string(spec.ExistingResourcePolicy)))
	l.line("ItemOperationTimeout", period(spec.ItemOperationTimeout.Duration, defaultItemOperationTimeout))
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
	if n := r.Restore.Status.RestoreItemOperationsAttempted; n > 0 {
		l.line("Restore Item Operations", fmt.Sprintf("%d of %d completed successfully, %d failed",
			r.Restore.Status.RestoreItemOperationsCompleted, n, r.Restore.Status.RestoreItemOperationsFailed))
		l.blank()
	}
}

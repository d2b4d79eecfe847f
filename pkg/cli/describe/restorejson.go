package describe

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// WriteJSON describes r as one JSON object. Velero has no such form; the keys are
// those of a backup's, where they mean the same.
func (r Restore) WriteJSON(w io.Writer) error { return r.json().write(w) }

// WriteYAML describes r as a YAML document with the keys of WriteJSON.
func (r Restore) WriteYAML(w io.Writer) error {
	var body bytes.Buffer
	if err := r.WriteJSON(&body); err != nil {
		return err
	}
	document, err := yaml.JSONToYAML(body.Bytes())
	if err != nil {
		return fmt.Errorf("print as yaml: %w", err)
	}
	_, err = w.Write(document)
	return err
}

func (r Restore) json() object {
	status := r.Restore.Status
	out := object{
		"metadata": metadataJSON(&r.Restore.ObjectMeta),
		"phase":    orElse(string(status.Phase), string(velerov1.RestorePhaseNew)),
		"spec":     r.specJSON(),
		"status":   r.statusJSON(),
	}
	if len(status.ValidationErrors) > 0 {
		out["validationErrors"] = status.ValidationErrors
	}
	out.results(status.Warnings, status.Errors, r.Results)
	out.standing(r.Standing)
	return out
}

func (r Restore) specJSON() object {
	spec := r.Restore.Spec
	out := object{
		"backup":                   spec.BackupName,
		"namespaces":               listsJSON(spec.IncludedNamespaces, spec.ExcludedNamespaces),
		"resources":                resourcesJSON(filter.OfRestore(r.Restore)),
		"namespaceMappings":        spec.NamespaceMapping,
		"labelSelector":            metav1.FormatLabelSelector(spec.LabelSelector),
		"restorePVs":               tristate(spec.RestorePVs, "true", "false", "auto"),
		"existingResourcePolicy":   orNone(string(spec.ExistingResourcePolicy)),
		"itemOperationTimeout":     period(spec.ItemOperationTimeout.Duration, defaultItemOperationTimeout).String(),
		"preserveServiceNodePorts": tristate(spec.PreserveNodePorts, "true", "false", "auto"),
	}
	out.objects(r.Restore.Annotations)
	r.optionalJSON(out)
	return out
}

// optionalJSON adds what only few restores have.
func (r Restore) optionalJSON(out object) {
	spec := r.Restore.Spec
	if spec.ScheduleName != "" {
		out["schedule"] = spec.ScheduleName
	}
	if len(spec.OrLabelSelectors) > 0 {
		out["orLabelSelectors"] = orSelectors(spec.OrLabelSelectors)
	}
	if s := spec.RestoreStatus; s != nil {
		out["restoreStatus"] = listsJSON(s.IncludedResources, s.ExcludedResources)
	}
	if m := spec.ResourceModifier; m != nil {
		out["resourceModifier"] = object{"type": m.Kind, "name": m.Name}
	}
	if u := spec.UploaderConfig; u != nil {
		out["uploaderConfig"] = object{
			"writeSparseFiles": tristate(u.WriteSparseFiles, "true", "false", "auto"), "parallelRestore": u.ParallelFilesDownload,
		}
	}
	if retryFor := r.Restore.Annotations[velerov1.RetryForAnnotation]; retryFor != "" {
		out["retryFor"] = retryFor
	}
	if priorities := r.priorities(); len(priorities) > 0 {
		out["resourcePriorities"] = strings.Join(priorities, ", ")
	}
}

func (r Restore) statusJSON() object {
	status := r.Restore.Status
	out := object{"started": timestamp(status.StartTimestamp), "completed": timestamp(status.CompletionTimestamp)}
	if p := status.Progress; p != nil {
		total, done := "totalItemsToBeRestored", "itemsRestored"
		if status.Phase == velerov1.RestorePhaseInProgress {
			total, done = "estimatedTotalItemsToBeRestored", "itemsRestoredSoFar"
		}
		out[total], out[done] = p.TotalItems, p.ItemsRestored
	}
	if status.RestoreItemOperationsAttempted > 0 {
		out["restoreItemOperations"] = itemOperations(status)
	}
	r.volumesJSON(out)
	out.resourceList(r.ResourceList)
	if r.ResourceList.Value != nil {
		out["outcome"], _ = actionsOf(*r.ResourceList.Value)
	}
	out.hooks(status.HookStatus)
	return out
}

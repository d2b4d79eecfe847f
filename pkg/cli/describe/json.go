package describe

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// object is a JSON object, whose keys come out sorted.
type object map[string]any

// WriteJSON describes b as one JSON object with the keys of Velero's.
func (b Backup) WriteJSON(w io.Writer) error {
	backup := b.Backup
	out := object{
		"metadata": metadataJSON(&backup.ObjectMeta),
		"phase":    orElse(string(backup.Status.Phase), string(velerov1.BackupPhaseNew)),
		"spec":     b.specJSON(),
		"status":   b.statusJSON(),
	}
	if p := backup.Spec.ResourcePolicy; p != nil {
		out["resourcePolicies"] = object{"type": p.Kind, "name": p.Name}
	}
	if v := backup.Status.ValidationErrors; len(v) > 0 {
		out["validationErrors"] = v
	}
	out.results(backup.Status.Warnings, backup.Status.Errors, b.Results)
	if len(b.Deletions) > 0 {
		out["deletionAttempts"] = deletionsJSON(b.Deletions)
	}
	out.standing(b.Standing)
	return out.write(w)
}

func metadataJSON(meta *metav1.ObjectMeta) object {
	return object{"name": meta.Name, "namespace": meta.Namespace, "labels": meta.Labels, "annotations": meta.Annotations}
}

// standing adds what Velero's descriptions don't have.
func (o object) standing(s Standing) {
	if len(s.Reasons) > 0 {
		o["reasons"] = s.Reasons
	}
	if s.Cause != "" {
		o["heldUpBy"] = s.Cause
	}
}

func (o object) write(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "    ")
	if err := encoder.Encode(o); err != nil {
		return fmt.Errorf("print as json: %w", err)
	}
	return nil
}

// results adds the warnings and errors, or their numbers when the lists could not
// be read.
func (o object) results(warnings, errors int, results Fetched[report.Results]) {
	if errors == 0 && warnings == 0 {
		return
	}
	if results.Value == nil {
		o["errors"], o["warnings"] = object{"count": errors}, object{"count": warnings}
		if err := results.Err; err != nil {
			o["errorGettingErrors"], o["errorGettingWarnings"] = err.Error(), err.Error()
		}
		return
	}
	if warnings > 0 {
		o["warnings"] = resultJSON(results.Value.Warnings)
	}
	if errors > 0 {
		o["errors"] = resultJSON(results.Value.Errors)
	}
}

func resultJSON(r report.Result) object {
	return object{"velero": r.Velero, "cluster": r.Cluster, "namespace": r.Namespaces}
}

func (b Backup) specJSON() object {
	spec := b.Backup.Spec
	out := object{
		"namespaces":              listsJSON(spec.IncludedNamespaces, spec.ExcludedNamespaces),
		"resources":               resourcesJSON(filter.OfBackup(spec)),
		"labelSelector":           metav1.FormatLabelSelector(spec.LabelSelector),
		"storageLocation":         spec.StorageLocation,
		"veleroNativeSnapshotPVs": tristate(spec.SnapshotVolumes, "true", "false", "auto"),
		"veleroSnapshotMoveData":  tristate(spec.SnapshotMoveData, "true", "false", "auto"),
		"dataMover":               orNone(spec.DataMover),
		"TTL":                     period(spec.TTL.Duration, defaultTTL).String(),
		"CSISnapshotTimeout":      period(spec.CSISnapshotTimeout.Duration, defaultCSISnapshotTimeout).String(),
		"hooks":                   "<none>",
	}
	if len(spec.Hooks.Resources) > 0 {
		out["hooks"] = hooksJSON(spec.Hooks.Resources)
	}
	if len(spec.OrderedResources) > 0 {
		out["orderedResources"] = spec.OrderedResources
	}
	if len(spec.OrLabelSelectors) > 0 {
		out["orLabelSelectors"] = orSelectors(spec.OrLabelSelectors)
	}
	out.objects(b.Backup.Annotations)
	return out
}

func hooksJSON(specs []velerov1.BackupResourceHookSpec) object {
	resources := object{}
	for _, h := range specs {
		resources[h.Name] = object{
			"namespaces":    object{"included": strings.Join(h.IncludedNamespaces, ", "), "excluded": strings.Join(h.ExcludedNamespaces, ", ")},
			"resources":     object{"included": strings.Join(h.IncludedResources, ", "), "excluded": strings.Join(h.ExcludedResources, ", ")},
			"labelSelector": metav1.FormatLabelSelector(h.LabelSelector),
			"preExecHook":   execHooksJSON(h.PreHooks),
			"postExecHook":  execHooksJSON(h.PostHooks),
		}
	}
	return object{"resources": resources}
}

func execHooksJSON(hooks []velerov1.BackupResourceHook) []object {
	all := []object{}
	for _, h := range hooks {
		if h.Exec == nil {
			continue
		}
		all = append(all, object{
			"container": h.Exec.Container, "command": strings.Join(h.Exec.Command, " "),
			// Velero writes this key with a colon in it, and readers look for that.
			"onError:": h.Exec.OnError, "timeout": h.Exec.Timeout.Duration.String(),
		})
	}
	return all
}

func (b Backup) statusJSON() object {
	status := b.Backup.Status
	out := object{
		"backupFormatVersion": status.FormatVersion,
		"started":             timestamp(status.StartTimestamp),
		"completed":           timestamp(status.CompletionTimestamp),
		"expiration":          timestamp(status.Expiration),
		"backupVolumes":       b.volumesJSON(),
	}
	if p := status.Progress; p != nil {
		total, done := "totalItemsToBeBackedUp", "itemsBackedUp"
		if status.Phase == velerov1.BackupPhaseInProgress {
			total, done = "estimatedTotalItemsToBeBackedUp", "itemsBackedUpSoFar"
		}
		out[total], out[done] = p.TotalItems, p.ItemsBackedUp
	}
	out.resourceList(b.ResourceList)
	switch {
	case b.Coverage.Err != nil:
		out["errorGettingCoverage"] = b.Coverage.Err.Error()
	case b.Coverage.Value != nil:
		out["coverage"] = *b.Coverage.Value
	}
	out.hooks(status.HookStatus)
	return out
}

func (o object) resourceList(list Fetched[map[string][]string]) {
	switch {
	case list.Err != nil:
		o["errorGettingResourceList"] = list.Err.Error()
	case list.Value != nil:
		o["resourceList"] = *list.Value
	}
}

func (o object) hooks(h *velerov1.HookStatus) {
	if h != nil {
		o["hooksAttempted"], o["hooksFailed"] = h.HooksAttempted, h.HooksFailed
	}
}

func deletionsJSON(requests []velerov1.DeleteBackupRequest) object {
	list := make([]object, len(requests))
	for i, d := range requests {
		list[i] = object{"creationTimestamp": d.CreationTimestamp.String(), "phase": d.Status.Phase}
		if len(d.Status.Errors) > 0 {
			list[i]["errors"] = d.Status.Errors
		}
	}
	return object{"failed": failedDeletions(requests), "deleteBackupRequests": list}
}

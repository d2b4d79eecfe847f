package describe

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// object is a JSON object, whose keys come out sorted.
type object map[string]any

// WriteJSON describes b as one JSON object with the keys of Velero's.
func (b Backup) WriteJSON(w io.Writer) error {
	backup := b.Backup
	out := object{
		"metadata": object{
			"name": backup.Name, "namespace": backup.Namespace,
			"labels": backup.Labels, "annotations": backup.Annotations,
		},
		"phase":  orElse(string(backup.Status.Phase), string(velerov1.BackupPhaseNew)),
		"spec":   b.specJSON(),
		"status": b.statusJSON(),
	}
	if p := backup.Spec.ResourcePolicy; p != nil {
		out["resourcePolicies"] = object{"type": p.Kind, "name": p.Name}
	}
	if v := backup.Status.ValidationErrors; len(v) > 0 {
		out["validationErrors"] = v
	}
	b.resultsJSON(out)
	if len(b.Deletions) > 0 {
		out["deletionAttempts"] = deletionsJSON(b.Deletions)
	}
	if len(b.Standing.Reasons) > 0 {
		out["reasons"] = b.Standing.Reasons
	}
	if b.Standing.Cause != "" {
		out["heldUpBy"] = b.Standing.Cause
	}
	return out.write(w)
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

func (b Backup) resultsJSON(out object) {
	status := b.Backup.Status
	if status.Errors == 0 && status.Warnings == 0 {
		return
	}
	if b.Results.Value == nil {
		out["errors"], out["warnings"] = object{"count": status.Errors}, object{"count": status.Warnings}
		if err := b.Results.Err; err != nil {
			out["errorGettingErrors"], out["errorGettingWarnings"] = err.Error(), err.Error()
		}
		return
	}
	if status.Warnings > 0 {
		out["warnings"] = resultJSON(b.Results.Value.Warnings)
	}
	if status.Errors > 0 {
		out["errors"] = resultJSON(b.Results.Value.Errors)
	}
}

func resultJSON(r report.Result) object {
	return object{"velero": r.Velero, "cluster": r.Cluster, "namespace": r.Namespaces}
}

func (b Backup) specJSON() object {
	spec := b.Backup.Spec
	out := object{
		"namespaces": object{
			"included": orElse(strings.Join(spec.IncludedNamespaces, ", "), "*"),
			"excluded": orNone(strings.Join(spec.ExcludedNamespaces, ", ")),
		},
		"resources":               resourcesJSON(&spec),
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
	if included, excluded := objects(b.Backup.Annotations); len(included)+len(excluded) > 0 {
		out["objects"] = object{
			"included": orElse(strings.Join(included, ", "), "*"),
			"excluded": orNone(strings.Join(excluded, ", ")),
		}
	}
	return out
}

// resourcesJSON has a family of keys for each family of filters; Velero leaves
// out the newer one.
func resourcesJSON(spec *velerov1.BackupSpec) object {
	if newerFilters(spec) {
		return object{
			"includedClusterScoped":   orNone(strings.Join(spec.IncludedClusterScopedResources, ", ")),
			"excludedClusterScoped":   orNone(strings.Join(spec.ExcludedClusterScopedResources, ", ")),
			"includedNamespaceScoped": orElse(strings.Join(spec.IncludedNamespaceScopedResources, ", "), "*"),
			"excludedNamespaceScoped": orNone(strings.Join(spec.ExcludedNamespaceScopedResources, ", ")),
		}
	}
	return object{
		"included":      orElse(strings.Join(spec.IncludedResources, ", "), "*"),
		"excluded":      orNone(strings.Join(spec.ExcludedResources, ", ")),
		"clusterScoped": tristate(spec.IncludeClusterResources, "included", "excluded", "auto"),
	}
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
		"backupVolumes": object{
			"nativeSnapshots":  snapshots(status.VolumeSnapshotsCompleted, status.VolumeSnapshotsAttempted),
			"csiSnapshots":     snapshots(status.CSIVolumeSnapshotsCompleted, status.CSIVolumeSnapshotsAttempted),
			"podVolumeBackups": "<none included>",
		},
	}
	if p := status.Progress; p != nil {
		total, done := "totalItemsToBeBackedUp", "itemsBackedUp"
		if status.Phase == velerov1.BackupPhaseInProgress {
			total, done = "estimatedTotalItemsToBeBackedUp", "itemsBackedUpSoFar"
		}
		out[total], out[done] = p.TotalItems, p.ItemsBackedUp
	}
	switch {
	case b.ResourceList.Err != nil:
		out["errorGettingResourceList"] = b.ResourceList.Err.Error()
	case b.ResourceList.Value != nil:
		out["resourceList"] = *b.ResourceList.Value
	}
	switch {
	case b.Coverage.Err != nil:
		out["errorGettingCoverage"] = b.Coverage.Err.Error()
	case b.Coverage.Value != nil:
		out["coverage"] = *b.Coverage.Value
	}
	if h := status.HookStatus; h != nil {
		out["hooksAttempted"], out["hooksFailed"] = h.HooksAttempted, h.HooksFailed
	}
	return out
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

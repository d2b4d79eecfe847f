package report

import "encoding/json"

// PreviewAction is what a restore would do about one object.
type PreviewAction string

// What a restore can do about an object.
const (
	PreviewCreate   PreviewAction = "create"
	PreviewUpdate   PreviewAction = "update"
	PreviewRecreate PreviewAction = "recreate"
	// PreviewUnchanged means that it exists and is what the backup holds.
	PreviewUnchanged PreviewAction = "unchanged"
	// PreviewSkip means that it is left as it is or not restored; Reason says why.
	PreviewSkip PreviewAction = "skip"
	// PreviewRefuse means that it would fail.
	PreviewRefuse PreviewAction = "refuse"
	// PreviewUnchecked means that the cluster can't tell before the restore runs.
	PreviewUnchecked PreviewAction = "unchecked"
)

// PreviewItem is what a restore would do about one object.
type PreviewItem struct {
	// Resource is the plural name and group: "deployments.apps".
	Resource string `json:"resource"`
	Version  string `json:"version,omitempty"`
	Kind     string `json:"kind,omitempty"`
	// Namespace and Name are those in the cluster, after mapping.
	Namespace string        `json:"namespace,omitempty"`
	Name      string        `json:"name"`
	Action    PreviewAction `json:"action"`
	Reason    string        `json:"reason,omitempty"`
	Warnings  []string      `json:"warnings,omitempty"`
	// Live and Wanted are, in a diff only, the object in the cluster (none if it
	// isn't there) and as it would be restored, both without what belongs to one
	// life of an object; only for those that differ.
	Live   json.RawMessage `json:"live,omitempty"`
	Wanted json.RawMessage `json:"wanted,omitempty"`
}

// PreviewEnd is the last thing that a preview says.
type PreviewEnd struct {
	// Reason is why the preview itself could not be made or ended early; empty
	// when it is whole.
	Reason string `json:"reason,omitempty"`
	// Counts are the numbers of objects by action.
	Counts map[PreviewAction]int `json:"counts,omitempty"`
	// Warnings and Errors concern the restore as a whole; with errors it would
	// not be Completed.
	Warnings []string `json:"warnings,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

// PreviewEvent is one line of a preview as it is sent: exactly one field is set.
// Without an End the preview is torn.
type PreviewEvent struct {
	Item *PreviewItem `json:"item,omitempty"`
	// Progress is sent now and then: how many objects have been looked at.
	Progress *int        `json:"progress,omitempty"`
	End      *PreviewEnd `json:"end,omitempty"`
}

package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// HookErrorMode says what follows when a hook fails; empty means Fail for a hook
// of a backup, and Continue for one of a restore.
//
// +kubebuilder:validation:Enum=Continue;Fail
type HookErrorMode string

// What follows when a hook fails.
const (
	// HookErrorModeContinue goes on as if the hook had succeeded.
	HookErrorModeContinue HookErrorMode = "Continue"
	// HookErrorModeFail counts the failure as an error of the backup or restore, and
	// runs no more hooks of the pod.
	HookErrorModeFail HookErrorMode = "Fail"
)

// BackupHooks are the hooks of a backup.
type BackupHooks struct {
	// Hooks, each with the pods that it is for.
	// +optional
	// +nullable
	Resources []BackupResourceHookSpec `json:"resources,omitempty"`
}

// BackupResourceHookSpec selects objects and says what to run for each.
type BackupResourceHookSpec struct {
	// Name of this hook, for logs.
	Name string `json:"name"`

	// Namespaces it applies to; empty means all.
	// +optional
	// +nullable
	IncludedNamespaces []string `json:"includedNamespaces,omitempty"`

	// Namespaces it doesn't apply to.
	// +optional
	// +nullable
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`

	// Resources it applies to; empty means all.
	// +optional
	// +nullable
	IncludedResources []string `json:"includedResources,omitempty"`

	// Resources it doesn't apply to.
	// +optional
	// +nullable
	ExcludedResources []string `json:"excludedResources,omitempty"`

	// Objects it applies to must match this selector.
	// +optional
	// +nullable
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`

	// What to run before the object is taken.
	// +optional
	PreHooks []BackupResourceHook `json:"pre,omitempty"`

	// What to run after the object and all that belongs to it are taken.
	// +optional
	PostHooks []BackupResourceHook `json:"post,omitempty"`
}

// BackupResourceHook is one thing to run for an object.
type BackupResourceHook struct {
	// A command to run in a container.
	Exec *ExecHook `json:"exec"`
}

// ExecHook is a command to run in a container during a backup.
type ExecHook struct {
	// Name of the container; empty means the pod's first.
	// +optional
	Container string `json:"container,omitempty"`

	// The command and its arguments; no shell is involved.
	// +kubebuilder:validation:MinItems=1
	Command []string `json:"command"`

	// What follows when the command fails; empty means Fail.
	// +optional
	OnError HookErrorMode `json:"onError,omitempty"`

	// How long to wait for the command; zero means 30 seconds.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
}

// RestoreHooks are the hooks of a restore.
type RestoreHooks struct {
	// Hooks, each with the pods that it is for.
	// +optional
	Resources []RestoreResourceHookSpec `json:"resources,omitempty"`
}

// RestoreResourceHookSpec selects objects and says what to run for each.
type RestoreResourceHookSpec struct {
	// Name of this hook, for logs.
	Name string `json:"name"`

	// Namespaces it applies to; empty means all.
	// +optional
	// +nullable
	IncludedNamespaces []string `json:"includedNamespaces,omitempty"`

	// Namespaces it doesn't apply to.
	// +optional
	// +nullable
	ExcludedNamespaces []string `json:"excludedNamespaces,omitempty"`

	// Resources it applies to; empty means all.
	// +optional
	// +nullable
	IncludedResources []string `json:"includedResources,omitempty"`

	// Resources it doesn't apply to.
	// +optional
	// +nullable
	ExcludedResources []string `json:"excludedResources,omitempty"`

	// Objects it applies to must match this selector.
	// +optional
	// +nullable
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`

	// What to run once the object is restored.
	// +optional
	PostHooks []RestoreResourceHook `json:"postHooks,omitempty"`
}

// RestoreResourceHook is one thing to run for a restored object: a command or init
// containers.
type RestoreResourceHook struct {
	// A command to run in a container of the restored pod.
	// +optional
	Exec *ExecRestoreHook `json:"exec,omitempty"`

	// Init containers to add to the pod before it is created.
	// +optional
	Init *InitRestoreHook `json:"init,omitempty"`
}

// ExecRestoreHook is a command to run in a container of a restored pod.
type ExecRestoreHook struct {
	// Name of the container; empty means the pod's first.
	// +optional
	Container string `json:"container,omitempty"`

	// The command and its arguments; no shell is involved.
	// +kubebuilder:validation:MinItems=1
	Command []string `json:"command"`

	// What follows when the command fails; empty means Continue.
	// +optional
	OnError HookErrorMode `json:"onError,omitempty"`

	// How long the command may run; zero means 30 seconds.
	// +optional
	ExecTimeout metav1.Duration `json:"execTimeout,omitempty"`

	// How long to wait for the container, and for earlier hooks in it, before the
	// command can run; zero means 10 minutes.
	// +optional
	WaitTimeout metav1.Duration `json:"waitTimeout,omitempty"`

	// Whether to wait until the container is ready, not only running; unset means no.
	// +optional
	// +nullable
	WaitForReady *bool `json:"waitForReady,omitempty"`
}

// InitRestoreHook adds init containers to a restored pod.
type InitRestoreHook struct {
	// The containers, in the order in which they run, each a core/v1 Container.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	InitContainers []runtime.RawExtension `json:"initContainers,omitempty"`

	// Not used, by Velero neither.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
}

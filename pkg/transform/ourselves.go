package transform

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// repositoryPassword is the Secret with the password of all repositories.
const repositoryPassword = "velero-repo-credentials"

var secrets = schema.GroupResource{Resource: "secrets"}

// ourselves says why an object of an installation isn't restored; empty for
// every other object.
func ourselves(o *Options, resource schema.GroupResource, obj *Object) string {
	installed := obj.Namespace() == "" || o.veleroNamespace(obj.Namespace())
	switch {
	case velerov1.Ours(resource, obj.Labels(), installed):
		return "it belongs to an installation of Velero"
	case resource == secrets && installed &&
		(obj.Name() == repositoryPassword || slices.Contains(o.Secrets, obj.Name())):
		return "it holds the credentials of a location"
	}
	return ""
}

// veleroRecords are the kinds that record or ask for work on a certain bucket
// or node of the former cluster. A Velero server would act on them: a restored
// DeleteBackupRequest deletes a backup.
var veleroRecords = []string{
	"backuprepositories", "datadownloads", "datauploads", "deletebackuprequests", "downloadrequests",
	"podvolumebackups", "podvolumerestores", "serverstatusrequests",
}

func veleroRecord(_ *Options, _ *Object) (Decision, error) {
	return Decision{Skip: "it records work of the cluster that was backed up"}, nil
}

// schedule comes back paused: else a recovered cluster would at once back up
// into, and expire from, the bucket of the cluster it was made from.
func schedule(_ *Options, obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if spec != nil {
		spec["paused"] = true
	}
	return Decision{}, err
}

// pausedSchedule says what schedule does, and how to undo it.
func pausedSchedule(o *Options, obj *Object) (Decision, error) {
	return Decision{Warnings: []error{fmt.Errorf(
		"it comes back paused; hint: kubectl patch schedules.velero.io %s -n %s --type merge -p '{\"spec\":{\"paused\":false}}'",
		obj.Name(), o.target(obj.Namespace()))}}, nil
}

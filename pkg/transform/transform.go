// Package transform prepares an object of a backup for another life: it says
// whether the object is to come back at all, takes out what belonged to its
// former life (status, identity, addresses, bindings) and follows changed
// namespaces. Each kind that needs care has one function in a file of its own,
// found through a table. The package makes no requests.
package transform

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Options is what the transforms need to know of a restore.
type Options struct {
	// BackupName and RestoreName become labels of every restored object.
	BackupName, RestoreName string
	// VeleroNamespaces are the namespaces of the installation that made the
	// backup and of the one that restores it.
	VeleroNamespaces []string
	// Secrets are the names of the Secrets with credentials of locations; in
	// VeleroNamespaces they aren't restored.
	Secrets []string
	// NamespaceMapping maps namespaces of the backup to others; those that
	// aren't named keep theirs.
	NamespaceMapping map[string]string
	// PreserveNodePorts keeps node ports that were given by the cluster.
	PreserveNodePorts bool
	// RestoreVolumes is false when volumes are not to be restored from their
	// snapshots.
	RestoreVolumes bool
	// Volumes says how volumes were backed up and what became of them; nil when
	// nothing is known.
	Volumes *Volumes
	// Selected reports whether objects of a kind are part of the restore; nil
	// means all.
	Selected func(schema.GroupResource) bool
}

// Decision is what is to become of an object.
type Decision struct {
	// Skip says why the object isn't restored; empty when it is.
	Skip string
	// Reprovision says, with a persistent volume that is skipped, that its
	// claim gets a new volume.
	Reprovision bool
	// Warnings and Errors go to the report, whatever becomes of the object.
	Warnings, Errors []error
}

// Func looks at an object of the kind it is for and changes it.
type Func func(o *Options, obj *Object) (Decision, error)

// Transformer prepares objects of one restore. It is safe for concurrent use.
type Transformer struct {
	options Options
	table   map[schema.GroupResource]Func
}

// New returns a Transformer.
func New(options Options) *Transformer {
	if options.Volumes == nil {
		options.Volumes = NewVolumes(nil)
	}
	return &Transformer{options: options, table: table()}
}

// table names the kinds that need care.
func table() map[schema.GroupResource]Func {
	const (
		admission = "admissionregistration.k8s.io"
		rbac      = "rbac.authorization.k8s.io"
		snapshots = "snapshot.storage.k8s.io"
	)
	t := map[schema.GroupResource]Func{
		{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}: customResourceDefinition,
		{Group: "apiregistration.k8s.io", Resource: "apiservices"}:             apiService,
		{Group: admission, Resource: "mutatingwebhookconfigurations"}:          webhookConfiguration,
		{Group: admission, Resource: "validatingwebhookconfigurations"}:        webhookConfiguration,
		{Group: "batch", Resource: "jobs"}:                                     job,
		{Group: "discovery.k8s.io", Resource: "endpointslices"}:                endpointSlice,
		{Group: rbac, Resource: "clusterrolebindings"}:                         binding,
		{Group: rbac, Resource: "rolebindings"}:                                binding,
		{Group: snapshots, Resource: "volumesnapshotcontents"}:                 volumeSnapshot,
		{Group: snapshots, Resource: "volumesnapshots"}:                        volumeSnapshot,
		{Resource: "configmaps"}:                                               configMap,
		{Resource: "endpoints"}:                                                endpoints,
		{Resource: "persistentvolumeclaims"}:                                   persistentVolumeClaim,
		{Resource: "persistentvolumes"}:                                        persistentVolume,
		{Resource: "pods"}:                                                     pod,
		{Resource: "secrets"}:                                                  secret,
		{Resource: "serviceaccounts"}:                                          serviceAccount,
		{Resource: "services"}:                                                 service,
		{Group: velerov1.GroupName, Resource: "schedules"}:                     schedule,
	}
	for _, resource := range veleroRecords {
		t[schema.GroupResource{Group: velerov1.GroupName, Resource: resource}] = veleroRecord
	}
	return t
}

// Live does to an object of the target cluster what Apply does to one of the
// archive, so that the two can be compared. Its namespace stays as it is.
func (t *Transformer) Live(resource schema.GroupResource, obj *Object) error {
	options := t.options
	options.NamespaceMapping = nil
	if f := t.table[resource]; f != nil {
		if _, err := f(&options, obj); err != nil {
			return err
		}
	}
	obj.RemoveMeta("managedFields")
	t.finish(&options, obj)
	return nil
}

// Apply prepares obj, which belongs to resource, for being created: on return
// it stands in its target namespace and carries the labels of the restore. An
// error means that the object is not what it claims to be.
func (t *Transformer) Apply(resource schema.GroupResource, obj *Object) (Decision, error) {
	if reason := ourselves(&t.options, resource, obj); reason != "" {
		return Decision{Skip: reason}, nil
	}
	var decision Decision
	if f := t.table[resource]; f != nil {
		var err error
		if decision, err = f(&t.options, obj); err != nil || decision.Skip != "" {
			return decision, err
		}
	}
	t.finish(&t.options, obj)
	return decision, nil
}

// finish is what is done to every kind.
func (t *Transformer) finish(options *Options, obj *Object) {
	strip(obj)
	if obj.Namespace() != "" {
		obj.SetNamespace(options.target(obj.Namespace()))
	}
	obj.SetLabel(velerov1.BackupNameLabel, velerov1.ValidName(options.BackupName))
	obj.SetLabel(velerov1.RestoreNameLabel, velerov1.ValidName(options.RestoreName))
}

// identity lists the fields of metadata that belong to one life of an object.
var identity = []string{
	"generateName", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
	"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences",
}

// strip removes what the API server sets and what names other objects by UID.
// managedFields stay with the Object, for those who give ownership back.
func strip(obj *Object) {
	obj.RemoveMeta(identity...)
	obj.Remove("status")
}

// target is the namespace to which objects of a namespace of the backup go.
func (o *Options) target(namespace string) string {
	if mapped := o.NamespaceMapping[namespace]; mapped != "" {
		return mapped
	}
	return namespace
}

func (o *Options) selected(resource schema.GroupResource) bool {
	return o.Selected == nil || o.Selected(resource)
}

func (o *Options) veleroNamespace(namespace string) bool {
	return slices.Contains(o.VeleroNamespaces, namespace)
}

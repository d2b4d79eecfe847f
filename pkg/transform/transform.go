// Package transform prepares an object of a backup for another life: it says
// whether the object is to come back at all, takes out what belonged to its
// former life (status, identity, addresses, bindings) and follows changed
// namespaces. Each kind that needs care has its functions in a file of its own,
// found through a table, and a list of the places where it names namespaces.
// The package makes no requests.
package transform

import (
	"cmp"
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
	// VolumeMoves reports whether a persistent volume comes back under the name
	// clone: the cluster has one of its name that this restore didn't make, or the
	// clone that it made. Nil means that it doesn't. It is asked only for volumes
	// with a snapshot whose claim moves to another namespace.
	VolumeMoves func(name, clone string) (bool, error)
	// SnapshotName is the name that this restore gives to a VolumeSnapshot of the
	// backup, and to its content; nil keeps the name.
	SnapshotName func(namespace, name string) string
	// SnapshotClass is the VolumeSnapshotClass of the cluster for a driver, where
	// it had the named one; empty when there is none. Nil means that there is none.
	SnapshotClass func(driver, name string) string
	// SnapshotSelected reports whether a VolumeSnapshot of the backup is part of
	// the restore; nil means all.
	SnapshotSelected func(Place) bool
	// Selected reports whether objects of a kind are part of the restore; nil
	// means all.
	Selected func(schema.GroupResource) bool
	// Actions change objects beyond what this package does, in order.
	Actions []Action
	// Mentions asks for Decision.Mentions.
	Mentions bool
}

// Action looks at an object of any kind and changes it. It sees the object
// after all that its kind needs was done, still in the namespace it has in the
// archive, and must leave apiVersion, kind and name as they are. What it decides
// is added to the decision about the object; a reason to skip or an error ends
// the object's way. It must be safe for concurrent use.
type Action func(resource schema.GroupResource, obj *Object) (Decision, error)

// Decision is what is to become of an object.
type Decision struct {
	// Skip says why the object isn't restored; empty when it is.
	Skip string
	// Reprovision says, with a persistent volume that is skipped, that its
	// claim gets a new volume.
	Reprovision bool
	// Disk says of a persistent volume that it gets a disk that is made from its
	// snapshot.
	Disk bool
	// FromSnapshot is, with a claim whose volume is made from a VolumeSnapshot, the
	// name of that in the backup; it is in the claim's namespace.
	FromSnapshot string
	// Warnings and Errors go to the report, whatever becomes of the object.
	Warnings, Errors []error
	// Mentions are, when Options.Mentions asks for them, the paths of texts that
	// name a namespace which the mapping moves, and stay as they are because
	// nothing says that they are references. There are three at most.
	Mentions []string
}

// add adds what another step decided; the first reason to skip counts.
func (d *Decision) add(other Decision) {
	d.Skip = cmp.Or(d.Skip, other.Skip)
	d.Reprovision = d.Reprovision || other.Reprovision
	d.Disk = d.Disk || other.Disk
	d.FromSnapshot = cmp.Or(d.FromSnapshot, other.FromSnapshot)
	d.Warnings = append(d.Warnings, other.Warnings...)
	d.Errors = append(d.Errors, other.Errors...)
}

// Transformer prepares objects of one restore. It is safe for concurrent use.
type Transformer struct {
	options   Options // with a mapping of those namespaces only that move
	kinds     map[schema.GroupResource]kind
	lookedFor []string // namespaces whose mentions are told
}

// New returns a Transformer.
func New(options Options) *Transformer {
	if options.Volumes == nil {
		options.Volumes = NewVolumes(nil, nil)
	}
	options.NamespaceMapping = moves(options.NamespaceMapping)
	t := &Transformer{options: options, kinds: kinds()}
	if options.Mentions {
		t.lookedFor = options.lookedFor()
	}
	return t
}

// moves leaves out of a mapping what stays where it is.
func moves(mapping map[string]string) map[string]string {
	moved := map[string]string{}
	for from, to := range mapping {
		if from != "" && to != "" && to != from {
			moved[from] = to
		}
	}
	return moved
}

// Apply prepares obj, which belongs to resource, for being created: on return
// it stands in its target namespace and carries the labels of the restore. Its
// name changes if it is a persistent volume that comes back beside the original.
// managedFields stay, for those who give ownership back. An error means that the
// object is not what it claims to be, or is that of an Action.
func (t *Transformer) Apply(resource schema.GroupResource, obj *Object) (Decision, error) {
	if reason := ourselves(&t.options, resource, obj); reason != "" {
		return Decision{Skip: reason}, nil
	}
	var decision Decision
	k := t.kinds[resource]
	for _, next := range []step{k.decide, k.change, k.follow, stripped, t.act(resource)} {
		if next == nil {
			continue
		}
		more, err := next(&t.options, obj)
		decision.add(more)
		if err != nil || decision.Skip != "" {
			return decision, err
		}
	}
	t.place(obj)
	if len(t.lookedFor) == 0 {
		return decision, nil
	}
	var err error
	decision.Mentions, err = t.options.mentions(obj, t.lookedFor)
	return decision, err
}

// Live does to an object of the target cluster what Apply does to one of the
// archive, so that the two can be compared. It stays in its namespace, keeps its
// name and meets no Actions.
func (t *Transformer) Live(resource schema.GroupResource, obj *Object) error {
	if change := t.kinds[resource].change; change != nil {
		if _, err := change(&t.options, obj); err != nil {
			return err
		}
	}
	strip(obj)
	obj.RemoveMeta("managedFields")
	t.label(obj)
	return nil
}

// act is all Actions in one step.
func (t *Transformer) act(resource schema.GroupResource) step {
	return func(o *Options, obj *Object) (Decision, error) {
		var decision Decision
		for _, action := range o.Actions {
			more, err := action(resource, obj)
			decision.add(more)
			if err != nil || decision.Skip != "" {
				return decision, err
			}
		}
		return decision, nil
	}
}

// place brings an object into its target namespace.
func (t *Transformer) place(obj *Object) {
	if obj.Namespace() != "" {
		obj.SetNamespace(t.options.target(obj.Namespace()))
	}
	t.label(obj)
}

func (t *Transformer) label(obj *Object) {
	obj.SetLabel(velerov1.BackupNameLabel, velerov1.ValidName(t.options.BackupName))
	obj.SetLabel(velerov1.RestoreNameLabel, velerov1.ValidName(t.options.RestoreName))
}

// identity lists the fields of metadata that belong to one life of an object.
var identity = []string{
	"generateName", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
	"deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences",
}

// strip removes what the API server sets and what names other objects by UID.
func strip(obj *Object) {
	obj.RemoveMeta(identity...)
	obj.status = obj.Status()
	obj.Remove("status")
}

// stripped is strip as a step.
func stripped(_ *Options, obj *Object) (Decision, error) {
	strip(obj)
	return Decision{}, nil
}

// target is the namespace to which objects of a namespace of the backup go.
func (o *Options) target(namespace string) string {
	return cmp.Or(o.NamespaceMapping[namespace], namespace)
}

func (o *Options) selected(resource schema.GroupResource) bool {
	return o.Selected == nil || o.Selected(resource)
}

func (o *Options) veleroNamespace(namespace string) bool {
	return slices.Contains(o.VeleroNamespaces, namespace)
}

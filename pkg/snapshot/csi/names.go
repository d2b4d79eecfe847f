package csi

// Keys that snapshot-controller, csi-snapshotter and drivers use, see
// https://github.com/kubernetes-csi/external-snapshotter, pkg/utils.
const (
	// contentFinalizer keeps a content until csi-snapshotter has let go of it.
	contentFinalizer = "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection"
	// inGroupFinalizer keeps a VolumeSnapshot until its group is gone.
	inGroupFinalizer = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection"
	// claimFinalizer keeps a claim while it is being snapshotted.
	claimFinalizer = "snapshot.storage.kubernetes.io/pvc-as-source-protection"
	// groupContentFinalizer does so for the content of a group.
	groupContentFinalizer = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshotcontent-bound-protection"
	// beingDeleted is without which csi-snapshotter leaves a deleted content alone.
	beingDeleted = "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted"
	// groupBeingDeleted is the same for the content of a group.
	groupBeingDeleted = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-deleted"
	// managedBy is, on a content, the node whose csi-snapshotter works on it, where
	// each node has one.
	managedBy = "snapshot.storage.kubernetes.io/managed-by"

	deletionSecretName           = "snapshot.storage.kubernetes.io/deletion-secret-name"
	deletionSecretNamespace      = "snapshot.storage.kubernetes.io/deletion-secret-namespace"
	groupDeletionSecretName      = "groupsnapshot.storage.kubernetes.io/deletion-secret-name"
	groupDeletionSecretNamespace = "groupsnapshot.storage.kubernetes.io/deletion-secret-namespace"
)

// Keys that Velero uses.
const (
	// claimClass is, on a claim, the class to use.
	claimClass = "velero.io/csi-volumesnapshot-class"
	// backupClassPrefix and a driver in lower case are, on a Backup, the class to use.
	backupClassPrefix = "velero.io/csi-volumesnapshot-class_"
	// classLabel is on the class to use of those of a driver.
	classLabel = "velero.io/csi-volumesnapshot-class"
	// defaultClass is on the class that Kubernetes uses when none is named.
	defaultClass = "snapshot.storage.kubernetes.io/is-default-class"

	claimGroupClass        = "velero.io/csi-volume-group-snapshot-class"
	backupGroupClassPrefix = "velero.io/csi-volumegroupsnapshot-class_"
	groupClassLabel        = "velero.io/csi-volumegroupsnapshot-class"

	// What the archive tells about a snapshot, as annotations of the VolumeSnapshot.
	snapshotHandle      = "velero.io/csi-volumesnapshot-handle"
	driverName          = "velero.io/csi-driver-name"
	snapshotRestoreSize = "velero.io/csi-volumesnapshot-restore-size"
	deletionPolicy      = "velero.io/csi-vsc-deletion-policy"
	groupHandle         = "velero.io/csi-volumegroupsnapshot-handle"
)

// nudged is an annotation of this program on contents in the cluster: when their
// csi-snapshotter was last reminded of them.
const nudged = "kubectl-velero.io/nudged"

// kept is a label of this program on contents in the cluster, of snapshots and of
// groups: whether the data is a committed backup's, or about to be. The policy doesn't
// say so, since the namespace's end must not take what a running backup needs. What
// lacks the label is not of this program's making, or of an older one's: nobody
// concludes from that that its data may go. An annotation wouldn't do: the controllers'
// patches replace all of these by what they last saw.
const kept = "kubectl-velero.io/kept"

// Values of kept.
const (
	isKept = "true"
	// notKept is there from the moment that a content is the backup's, until Keep; and
	// from the moment that it is to be deleted with its data.
	notKept = "false"
)

// memberOf is, on the content of a member, the handle of its group's snapshot.
const memberOf = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle"

// groupMembers is an annotation of this program on the content of a member of a
// group in an archive: the handles of all its members, as a JSON list. A driver may
// ask for them to delete the group.
const groupMembers = "kubectl-velero.io/group-snapshot-handles"

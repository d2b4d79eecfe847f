package launch

import (
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// snapshotCredentialsDir is where the credentials of snapshot locations are mounted,
// each in a folder of its own.
const snapshotCredentialsDir = "/snapshot-credentials"

// installationFolder has those of the installation, for snapshot locations that have
// no Secret of their own in a Job whose storage location has one.
const installationFolder = "installation"

// SnapshotCredentialsFiles are the places where a pod may have the credentials of a
// snapshot location; the first that is there counts. A location without a Secret has
// the installation's.
func SnapshotCredentialsFiles(location *velerov1.VolumeSnapshotLocation) []string {
	return []string{path.Join(snapshotCredentialsFolder(location), CredentialsKey)}
}

// snapshotCredentialsFolder differs for each Secret and key, so that a pod which has
// what was right yesterday doesn't take it for what is right today.
func snapshotCredentialsFolder(location *velerov1.VolumeSnapshotLocation) string {
	folder := installationFolder
	if key := location.Spec.Credential; key != nil {
		const digits = 16
		folder = hashOf(place(key))[:digits]
	}
	return path.Join(snapshotCredentialsDir, folder)
}

// mountSnapshotCredentials mounts what op's snapshot locations need. It comes before
// the storage location takes the installation's place.
func mountSnapshotCredentials(spec *corev1.PodSpec, container *corev1.Container, op Operation) {
	mounted := map[string]bool{}
	for i := range op.SnapshotLocations {
		location := &op.SnapshotLocations[i]
		folder := snapshotCredentialsFolder(location)
		if mounted[folder] {
			continue
		}
		mounted[folder] = true
		if key := location.Spec.Credential; key != nil {
			mount(spec, container, secretVolume(key, CredentialsKey),
				corev1.VolumeMount{Name: "snapshot-credentials-" + path.Base(folder), MountPath: folder, ReadOnly: true})
			continue
		}
		mountAgain(spec, container, CredentialsDir, corev1.VolumeMount{Name: "snapshot-credentials", MountPath: folder, ReadOnly: true})
	}
}

// mountAgain mounts what the template has at a path at another one too; nothing when
// it has nothing there.
func mountAgain(spec *corev1.PodSpec, container *corev1.Container, from string, at corev1.VolumeMount) {
	for _, m := range container.VolumeMounts {
		if m.MountPath != from {
			continue
		}
		for _, volume := range spec.Volumes {
			if volume.Name == m.Name {
				mount(spec, container, volume.VolumeSource, at)
				return
			}
		}
	}
}

// SnapshotCredentialFolders are the folders of a pod that hold credentials of snapshot
// locations, in order.
func SnapshotCredentialFolders(spec *corev1.PodSpec) []string {
	folders := map[string]bool{}
	for i := range spec.Containers {
		for _, m := range spec.Containers[i].VolumeMounts {
			if path.Dir(m.MountPath) == snapshotCredentialsDir {
				folders[m.MountPath] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

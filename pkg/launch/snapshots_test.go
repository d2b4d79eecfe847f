package launch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// snapshotLocations are two that share a Secret, one of another key, and one with the
// installation's credentials.
func snapshotLocations() []velerov1.VolumeSnapshotLocation {
	of := func(name, secret, key string) velerov1.VolumeSnapshotLocation {
		l := velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if secret != "" {
			l.Spec.Credential = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}
		}
		return l
	}
	return []velerov1.VolumeSnapshotLocation{of("a", "disks", "cloud"), of("b", "disks", "cloud"), of("c", "disks", "other"), of("d", "", "")}
}

// TestSnapshotCredentials: a pod has each location's credentials where its executor
// looks for them, and none of a Secret or key that it wasn't made for.
func TestSnapshotCredentials(t *testing.T) {
	t.Parallel()
	op := backupOperation()
	op.Location, op.SnapshotLocations = withCredential("second", "aws"), snapshotLocations()
	spec := &Job(installed(), op).Spec.Template.Spec
	sources := map[string]string{} // file → secret/key; "" for a whole Secret
	for _, mount := range spec.Containers[0].VolumeMounts {
		for _, volume := range spec.Volumes {
			if volume.Name != mount.Name || volume.Secret == nil {
				continue
			}
			sources[mount.MountPath+"/"+CredentialsKey] = volume.Secret.SecretName
			for _, item := range volume.Secret.Items {
				sources[mount.MountPath+"/"+item.Path] = volume.Secret.SecretName + "/" + item.Key
			}
		}
	}
	want := []string{"disks/cloud", "disks/cloud", "disks/other", "cloud-credentials"}
	var got []string
	for i := range op.SnapshotLocations {
		got = append(got, sources[SnapshotCredentialsFiles(&op.SnapshotLocations[i])[0]])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := sources[CredentialsDir+"/"+CredentialsKey]; got != "second/aws" {
		t.Errorf("the storage location has the credentials of %q", got)
	}
	if n := len(SnapshotCredentialFolders(spec)); n != 3 {
		t.Errorf("%d folders for 3 credentials", n)
	}
	changed := op.SnapshotLocations[0]
	changed.Spec.Credential.Key = "renewed"
	if file := SnapshotCredentialsFiles(&changed)[0]; sources[file] != "" {
		t.Errorf("the pod has %q, which nobody gave it", file)
	}
}

func TestNoSnapshotLocations(t *testing.T) {
	t.Parallel()
	op := backupOperation()
	if got := SnapshotCredentialFolders(&Job(installed(), op).Spec.Template.Spec); len(got) > 0 {
		t.Errorf("folders %q", got)
	}
	op.SnapshotLocations = snapshotLocations()[3:]
	bare := installed()
	bare.Template.Spec.Containers[0].VolumeMounts = nil
	if got := SnapshotCredentialFolders(&Job(bare, op).Spec.Template.Spec); len(got) > 0 {
		t.Errorf("an installation without credentials: folders %q", got)
	}
}

package launch

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// Where a pod has what its storage location brings along.
const (
	// CredentialsDir is where a location's Secret is mounted; the file in it is
	// named CredentialsKey.
	CredentialsDir = "/credentials"
	CredentialsKey = "cloud"
	// EncryptionKeyDir has the customer's key that objects are encrypted with, in
	// the file EncryptionKeyFile.
	EncryptionKeyDir  = "/encryption-key"
	EncryptionKeyFile = "key"
	// CACertDir has the certificates that the storage's own is checked against, in
	// the file CACertKey.
	CACertDir = "/ca-certificates"
	CACertKey = "ca.crt"
	// StorageDir is where the claim of a location of provider filesystem is mounted.
	StorageDir = "/storage"
)

// LocationMountsVariable tells an executor whose mounts it has: Mounts.Hash of its
// location. It isn't set for a location that needs none.
const LocationMountsVariable = "VELERO_LOCATION_MOUNTS"

// claimLabel is on the pods that mount a claim, and is what draws them to one node.
const claimLabel = "kubectl-velero.io/storage-claim"

// Mounts are what a location needs mounted into each pod that opens it. All are in
// the location's own namespace. The zero value is a location that needs nothing of
// its own.
type Mounts struct {
	// Credential is the provider's credentials, in place of the installation's.
	Credential *corev1.SecretKeySelector
	// EncryptionKey is the customer's key for encryption by an S3 server.
	EncryptionKey *corev1.SecretKeySelector
	// CACert is the certificates that the storage's own is checked against.
	CACert *corev1.SecretKeySelector
	// Claim is the name of the PersistentVolumeClaim that holds the backups.
	Claim string
	// Group is the group that the claim's volume is given to; 0 without a claim or
	// where the cluster's own rules decide.
	Group int64
}

// MountsOf says what a location needs mounted; nil needs nothing. What is wrong with
// a location's settings is left to settings.Check.
func MountsOf(location *velerov1.BackupStorageLocation) Mounts {
	if location == nil {
		return Mounts{}
	}
	m := Mounts{Credential: location.Spec.Credential}
	if o := location.Spec.ObjectStorage; o != nil {
		m.CACert = o.CACertRef
	}
	switch provider, _ := settings.Provider(location.Spec.Provider); provider {
	case settings.ProviderAWS:
		m.EncryptionKey = secretKey(location.Spec.Config["customerKeyEncryptionSecret"])
	case settings.ProviderFilesystem:
		// A location that can't be read has no claim, and no Job is started for it.
		if folder, err := settings.ParseFilesystem(location.Spec.Config); err == nil {
			m.Claim, m.Group = folder.Claim, folder.Group
		}
	}
	return m
}

// secretKey reads "secret/key"; nil for anything else.
func secretKey(s string) *corev1.SecretKeySelector {
	name, key, ok := strings.Cut(s, "/")
	if !ok || name == "" || key == "" {
		return nil
	}
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}

// Empty reports whether nothing is to be mounted: any pod of the installation can
// open such a location.
func (m Mounts) Empty() bool { return m == Mounts{} }

// Hash tells mounts apart; it is empty when there are none.
func (m Mounts) Hash() string {
	if m.Empty() {
		return ""
	}
	const digits = 16
	// A struct of strings can't fail to be encoded.
	body, _ := json.Marshal([]string{
		place(m.Credential), place(m.EncryptionKey), place(m.CACert), m.Claim, strconv.FormatInt(m.Group, 10),
	})
	return hashOf(string(body))[:digits]
}

func place(key *corev1.SecretKeySelector) string {
	if key == nil {
		return ""
	}
	return key.Name + "/" + key.Key
}

// mountLocation mounts what op's location needs.
func mountLocation(pod *corev1.PodTemplateSpec, container *corev1.Container, op Operation) {
	m := MountsOf(op.Location)
	spec := &pod.Spec
	for _, secret := range []struct {
		volume, dir, file string
		key               *corev1.SecretKeySelector
	}{
		{"location-credentials", CredentialsDir, CredentialsKey, m.Credential},
		{"location-encryption-key", EncryptionKeyDir, EncryptionKeyFile, m.EncryptionKey},
		{"location-ca-certificates", CACertDir, CACertKey, m.CACert},
	} {
		if secret.key != nil {
			mount(spec, container, secretVolume(secret.key, secret.file),
				corev1.VolumeMount{Name: secret.volume, MountPath: secret.dir, ReadOnly: true})
		}
	}
	if m.Claim != "" {
		mountClaim(pod, container, m, op.onlyReads())
	}
	if !m.Empty() {
		container.Env = override(container.Env, []corev1.EnvVar{{Name: LocationMountsVariable, Value: m.Hash()}})
	}
}

// onlyReads reports whether the operation writes nothing into its bucket.
func (op Operation) onlyReads() bool {
	return op.Kind == velerov1.OperationRead || op.Kind == velerov1.OperationPreview
}

func secretVolume(key *corev1.SecretKeySelector, file string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: key.Name,
		Items:      []corev1.KeyToPath{{Key: key.Key, Path: file}},
		Optional:   key.Optional,
	}}
}

// mount puts a volume at a path. What the template has there gives way; the name of
// the mount is that of a new volume.
func mount(spec *corev1.PodSpec, container *corev1.Container, source corev1.VolumeSource, at corev1.VolumeMount) {
	if i := slices.IndexFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == at.MountPath }); i >= 0 {
		at.Name = container.VolumeMounts[i].Name
		container.VolumeMounts[i] = at
	} else {
		container.VolumeMounts = append(container.VolumeMounts, at)
	}
	volume := corev1.Volume{Name: at.Name, VolumeSource: source}
	if i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == at.Name }); i >= 0 {
		spec.Volumes[i] = volume
	} else {
		spec.Volumes = append(spec.Volumes, volume)
	}
}

// mountClaim mounts the volume that holds the backups. The kubelet gives it to a
// group that the executor is in, and looks at the volume's root only, since a volume
// full of backups has many files.
func mountClaim(pod *corev1.PodTemplateSpec, container *corev1.Container, m Mounts, readOnly bool) {
	source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: m.Claim}}
	mount(&pod.Spec, container, source, corev1.VolumeMount{Name: "location-storage", MountPath: StorageDir, ReadOnly: readOnly})
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	security := pod.Spec.SecurityContext
	if security.FSGroup == nil && m.Group > 0 {
		security.FSGroup = &m.Group
	}
	if security.FSGroupChangePolicy == nil {
		security.FSGroupChangePolicy = ptr.To(corev1.FSGroupChangeOnRootMismatch)
	}
	pod.Labels[claimLabel] = velerov1.ValidName(m.Claim)
	drawTogether(&pod.Spec, m.Claim)
}

// drawTogether has the scheduler prefer the node where another Job has the claim
// mounted: most volumes can be on one node at a time only.
func drawTogether(spec *corev1.PodSpec, claim string) {
	if spec.Affinity == nil {
		spec.Affinity = &corev1.Affinity{}
	}
	if spec.Affinity.PodAffinity == nil {
		spec.Affinity.PodAffinity = &corev1.PodAffinity{}
	}
	affinity := spec.Affinity.PodAffinity
	affinity.PreferredDuringSchedulingIgnoredDuringExecution = append(affinity.PreferredDuringSchedulingIgnoredDuringExecution,
		corev1.WeightedPodAffinityTerm{Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{
			TopologyKey:   corev1.LabelHostname,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{claimLabel: velerov1.ValidName(claim)}},
		}})
}

// Package install holds every object that an installation consists of, as data, and
// brings them into a cluster and out again. There is no server among them: kinds, a
// namespace, accounts with their rights, settings for Jobs, and one hourly CronJob for
// the chores. The package reads no files and asks no questions; that is for the
// command line.
package install

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/crds"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

const (
	// CredentialsSecret is the name of the Secret with the storage's credentials.
	CredentialsSecret = "cloud-credentials"
	// CustomerKeySecret is the name of the Secret with the key that an S3 server is to
	// encrypt objects with.
	CustomerKeySecret = "encryption-key"

	customerKeyKey = "key"
)

// Options say what an installation is to be like.
type Options struct {
	// Namespace holds everything that isn't cluster-scoped.
	Namespace string
	// Image is the executor's.
	Image string
	// ImagePullPolicy of the executor; empty leaves it to Kubernetes, which pulls
	// the tag "latest" always and others if they are missing.
	ImagePullPolicy corev1.PullPolicy
	// Resources are the requests and limits of each Job's pod.
	Resources corev1.ResourceRequirements
	// PodAnnotations and PodLabels are added to each Job's pod.
	PodAnnotations, PodLabels map[string]string
	// ServiceAccountAnnotations are given to both service accounts; this is how
	// clouds bind an identity to them.
	ServiceAccountAnnotations map[string]string
	// PodEnv are variables of each Job's executor, such as HTTPS_PROXY.
	PodEnv []corev1.EnvVar
	// Features are the feature flags that every Job gets, such as
	// EnableAPIGroupVersions. Nil leaves those that are on by default; an empty list
	// is none.
	Features []string
	// Credentials is the content of the credentials file; nil makes no Secret.
	Credentials []byte
	// CustomerKey is the key that the location's S3 server is to encrypt objects with;
	// nil makes no Secret.
	CustomerKey []byte
	// Location is the default BackupStorageLocation; nil makes none.
	Location *Location
	// SnapshotLocation is the default VolumeSnapshotLocation; nil makes none.
	SnapshotLocation *SnapshotLocation
	// CRDsOnly leaves out everything but the CustomResourceDefinitions; the other
	// options don't matter then.
	CRDsOnly bool
}

// Location is a bucket and how to reach it.
type Location struct {
	// Provider is the kind of storage, such as "aws".
	Provider string
	// Bucket is the bucket's name.
	Bucket string
	// Prefix is a path in it; empty means its top.
	Prefix string
	// Config are the provider's settings.
	Config map[string]string
	// CACert is PEM, what the storage's certificate is checked against; nil means
	// what the image trusts.
	CACert []byte
	// Claim is, for provider filesystem, the PersistentVolumeClaim that is to hold the
	// backups; it becomes a part of the settings.
	Claim string
	// Size is how large a claim is made; zero means that it exists already. An
	// existing one is enlarged.
	Size resource.Quantity
	// StorageClass is that of the claim that is made; empty means the cluster's
	// default. AccessMode is the claim's; empty means ReadWriteOnce.
	StorageClass string
	AccessMode   corev1.PersistentVolumeAccessMode
}

// Objects returns every object of an installation in the order in which they are to
// be created. Owner references are missing: they need the UID that the cluster gives
// to the ClusterRoleBinding, and are added by Apply. The caller owns what it gets.
func Objects(o Options) ([]runtime.Object, error) {
	kinds, err := crds.All()
	if err != nil {
		return nil, err
	}
	objects := make([]runtime.Object, 0, len(kinds)+12)
	for _, crd := range kinds {
		objects = append(objects, crd)
	}
	if o.CRDsOnly {
		return objects, nil
	}
	objects = append(objects, namespace(o))
	objects = append(objects, accounts(o)...)
	objects = append(objects, clusterRole(o), clusterRoleBinding(o), role(o), roleBinding(o))
	if o.Credentials != nil {
		objects = append(objects, credentials(o))
	}
	if o.CustomerKey != nil {
		objects = append(objects, customerKey(o))
	}
	if o.Location != nil {
		if o.Location.Claim != "" && !o.Location.Size.IsZero() {
			objects = append(objects, claim(o))
		}
		objects = append(objects, location(o))
	}
	if o.SnapshotLocation != nil {
		objects = append(objects, snapshotLocation(o))
	}
	template := podTemplate(o)
	return append(objects, template, maintenance(o, template)), nil
}

// named is the metadata that all objects of an installation have; an empty namespace
// is for cluster-scoped ones.
func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace,
		Name:      name,
		Labels:    map[string]string{velerov1.ComponentLabel: velerov1.ComponentValue},
	}
}

// namespace enforces the strictest Pod Security level: whoever can start pods here
// has the rights of the accounts below.
func namespace(o Options) *corev1.Namespace {
	ns := &corev1.Namespace{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
		ObjectMeta: named("", o.Namespace),
	}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		key := "pod-security.kubernetes.io/" + mode
		ns.Labels[key] = "restricted"
		ns.Labels[key+"-version"] = "latest"
	}
	return ns
}

func credentials(o Options) *corev1.Secret {
	return secret(o, CredentialsSecret, credentialsKey, o.Credentials)
}

func customerKey(o Options) *corev1.Secret {
	return secret(o, CustomerKeySecret, customerKeyKey, o.CustomerKey)
}

func secret(o Options, name, key string, value []byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: named(o.Namespace, name),
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{key: value},
	}
}

func location(o Options) *velerov1.BackupStorageLocation {
	return &velerov1.BackupStorageLocation{
		TypeMeta:   metav1.TypeMeta{APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "BackupStorageLocation"},
		ObjectMeta: named(o.Namespace, velerov1.DefaultName),
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: o.Location.Provider,
			Config:   o.Location.config(o.CustomerKey != nil),
			Default:  true,
			ObjectStorage: &velerov1.ObjectStorageLocation{
				Bucket: o.Location.Bucket,
				Prefix: o.Location.Prefix,
				CACert: o.Location.CACert,
			},
		},
	}
}

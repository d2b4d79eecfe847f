package install

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// SnapshotLocation is a cloud whose disks are snapshotted.
type SnapshotLocation struct {
	// Provider is the cloud, such as "aws".
	Provider string
	// Config are the provider's settings.
	Config map[string]string
}

// InCloud reports whether the location is the provider's own cloud, so that the
// cluster's disks are likely to be there too, and not a server that speaks its
// protocol.
func (l *Location) InCloud() bool {
	provider, err := settings.Provider(l.Provider)
	if err != nil {
		return false
	}
	switch provider {
	case settings.ProviderAWS:
		return isAmazon(l.Config["s3Url"])
	case settings.ProviderAzure:
		return l.Config["storageAccountURI"] == ""
	case settings.ProviderGCP:
		return l.Config["storeEndpoint"] == ""
	}
	return false
}

func snapshotLocation(o Options) *velerov1.VolumeSnapshotLocation {
	return &velerov1.VolumeSnapshotLocation{
		TypeMeta:   metav1.TypeMeta{APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "VolumeSnapshotLocation"},
		ObjectMeta: named(o.Namespace, velerov1.DefaultName),
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: o.SnapshotLocation.Provider, Config: o.SnapshotLocation.Config},
	}
}

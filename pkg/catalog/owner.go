package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Owner returns the id of the cluster that made a backup, the UID of its
// kube-system namespace: what the commit marker says, else the claim. It is empty
// when neither says so, as with backups of a Velero server; a name that has
// neither marker nor claim is store.ErrNotExist.
func (c *Catalog) Owner(ctx context.Context, backup string) (string, error) {
	marker, missing := c.ReadBackup(ctx, backup)
	if missing != nil && !errors.Is(missing, store.ErrNotExist) {
		return "", missing
	}
	if missing == nil && marker.Annotations[velerov1.ClusterIDAnnotation] != "" {
		return marker.Annotations[velerov1.ClusterIDAnnotation], nil
	}
	claim, err := c.ReadClaim(ctx, backup)
	if errors.Is(err, store.ErrNotExist) {
		return "", missing
	}
	return claim.ClusterID, err
}

// Ours are the clusters whose backups in a location count as one cluster's own.
type Ours struct {
	// ClusterID is the cluster itself; it may be empty when nobody knows.
	ClusterID string
	// Adopted are the others, or velerov1.AdoptedUnknown.
	Adopted []string
}

// OursIn reads what counts as the own of the cluster with this id in a location.
func OursIn(location *velerov1.BackupStorageLocation, clusterID string) Ours {
	adopted := strings.FieldsFunc(location.Annotations[velerov1.AdoptedClustersAnnotation], func(r rune) bool { return r == ',' || r == ' ' })
	return Ours{ClusterID: clusterID, Adopted: adopted}
}

// Has reports whether backups made by the cluster with this id count as the own;
// an empty id asks about those that don't say who made them.
func (o Ours) Has(clusterID string) bool {
	if clusterID == "" {
		clusterID = velerov1.AdoptedUnknown
	} else if clusterID == o.ClusterID {
		return true
	}
	return slices.Contains(o.Adopted, clusterID)
}

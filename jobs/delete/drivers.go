package delete

import (
	"context"
	"fmt"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/drivers"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
)

// openDrivers connects to the snapshot API, where it is served, and refuses when a
// snapshot's driver isn't in this cluster.
func (o *operation) openDrivers(ctx context.Context, data *saved.Data) error {
	if err := o.connectDrivers(ctx); err != nil {
		return err
	}
	if len(data.CSI) == 0 {
		return nil
	}
	if o.snapshots.drivers == nil {
		o.snapshots.csi = nil
		return o.orLeave(
			fmt.Sprintf("the CSI snapshots of backup %q can't be deleted, because this cluster doesn't serve the API snapshot.storage.k8s.io (%s)", o.Backup, handles(data.CSI)),
			"install the CSI snapshot controller and its CRDs, or delete the backup from a cluster that has them",
		)
	}
	missing, err := drivers.Missing(ctx, o.Env, data.Drivers())
	if err != nil {
		return err
	}
	for _, name := range missing {
		lost, others := split(o.snapshots.csi, name)
		err := o.orLeave(
			fmt.Sprintf("the CSI snapshots of backup %q can't be deleted, because driver %q isn't in this cluster (%s)", o.Backup, name, handles(lost)),
			"install the driver, or delete the backup from a cluster that has it",
		)
		if err != nil {
			return err
		}
		o.snapshots.csi = others
	}
	return nil
}

// split tells a driver's snapshots from the others.
func split(list []saved.CSI, driver string) (ofDriver, others []saved.CSI) {
	for _, s := range list {
		if s.Handle.Driver == driver {
			ofDriver = append(ofDriver, s)
		} else {
			others = append(others, s)
		}
	}
	return ofDriver, others
}

// connectDrivers finds the drivers; there are none where the API isn't served.
func (o *operation) connectDrivers(ctx context.Context) error {
	if o.Drivers != nil {
		o.snapshots.drivers = o.Drivers
		return nil
	}
	client, err := drivers.Open(ctx, o.Env)
	if client != nil {
		o.snapshots.drivers = client
	}
	return err
}

// handles lists snapshots as their drivers know them.
func handles(list []saved.CSI) string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, s.Handle.Snapshot)
	}
	return strings.Join(all, ", ")
}

// Package drivers connects a Job to the CSI drivers of its cluster.
package drivers

import (
	"context"
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

var classes = snapshotv1.SchemeGroupVersion.WithResource("volumesnapshotclasses")

// Open connects to the snapshot API; nil where the cluster doesn't serve it.
func Open(ctx context.Context, env *run.Env) (*csi.Client, error) {
	client, err := csi.NewClient(env.REST, env.Log)
	if err != nil {
		return nil, err
	}
	served, err := client.Served(ctx)
	if err != nil || !served {
		return nil, err
	}
	return client, nil
}

// Missing are those of the drivers that nothing in the cluster speaks of: neither a
// CSIDriver nor a VolumeSnapshotClass. Whether one that is there works, its work
// shows. The snapshot API must be served.
func Missing(ctx context.Context, env *run.Env, names []string) ([]string, error) {
	known := map[string]bool{}
	drivers, err := env.Kube.StorageV1().CSIDrivers().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list CSIDrivers: %w", err)
	}
	for i := range drivers.Items {
		known[drivers.Items[i].Name] = true
	}
	list, err := env.Dynamic.Resource(classes).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list VolumeSnapshotClasses: %w", err)
	}
	for i := range list.Items {
		driver, _, _ := unstructured.NestedString(list.Items[i].Object, "driver")
		known[driver] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] }), nil
}

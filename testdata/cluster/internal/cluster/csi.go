package cluster

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/api"
)

// SuperviseCommand is the command of this program that keeps another one running.
const SuperviseCommand = "supervise"

const (
	csiDriver = "directory.csi.kubectl-velero.io"
	csiClass  = "csi-test"
	csiSocket = kubeletRoot + "/plugins/" + csiDriver + "/csi.sock"
)

// csiData is the driver's folder.
func (p plan) csiData(r *record) string { return cmp.Or(r.CSIData, p.folder.join("csi")) }

// startCSI starts the driver and its sidecars, if the cluster is to have them,
// and makes what is needed to use them.
func (s *starter) startCSI(ctx context.Context, client *api.Client) error {
	if !s.record.CSI {
		return nil
	}
	definitions, err := readDefinitions(s.manager.builder().Definitions())
	if err != nil {
		return err
	}
	for _, o := range definitions {
		if err := client.Apply(ctx, o.path, o.object); err != nil {
			return err
		}
	}
	for _, o := range csiObjects() {
		// The API server serves a definition a moment after it took it.
		err := s.wait(ctx, "the snapshot API", func(ctx context.Context) error { return client.Apply(ctx, o.path, o.object) })
		if err != nil {
			return err
		}
	}
	return s.start(s.csiComponents()...)
}

// csiComponents are the driver and its sidecars. csi-provisioner ends when it
// loses the driver, so all are supervised.
func (p plan) csiComponents() []component {
	// The sidecars' own limit of five requests a second is for clusters that others
	// share.
	sidecar := []string{flag("kubeconfig", p.folder.kubeconfig()), flag("kube-api-qps", 100), flag("kube-api-burst", 200), flag("leader-election", false)}
	connected := append(slices.Clone(sidecar), flag("csi-address", csiSocket))
	return []component{
		p.supervised("csi-driver", "driver", "-name", csiDriver, "-node", nodeName, "-data", p.csiData(p.record), "-kubelet-root", kubeletRoot),
		p.supervised("snapshot-controller", "snapshot-controller", sidecar...),
		p.supervised("csi-snapshotter", "csi-snapshotter", connected...),
		p.supervised("csi-provisioner", "csi-provisioner", append(slices.Clone(connected), flag("extra-create-metadata", true))...),
	}
}

func (p plan) supervised(name, program string, args ...string) component {
	line := []string{SuperviseCommand, "--", p.state.Bin(filepath.Join("csi", program))}
	return component{name: name, path: p.state.Bin("cluster"), args: append(line, args...)}
}

// readDefinitions reads the snapshot API's definitions.
func readDefinitions(folder string) ([]applied, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var all []applied
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the snapshot API's definitions: %w", err)
		}
		o := object{}
		if err := yaml.Unmarshal(body, &o); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		metadata, _ := o["metadata"].(map[string]any)
		all = append(all, applied{fmt.Sprintf("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/%s", metadata["name"]), o})
	}
	return all, nil
}

// csiObjects say how the driver is used, and that Velero may.
func csiObjects() []applied {
	const snapshots = "snapshot.storage.k8s.io/v1"
	const groups = "groupsnapshot.storage.k8s.io/v1beta2"
	class := func(apiVersion, kind, plural, label string) applied {
		return applied{"/apis/" + apiVersion + "/" + plural + "/" + csiClass, object{
			"apiVersion": apiVersion, "kind": kind,
			"metadata": object{"name": csiClass, "labels": object{label: "true"}},
			"driver":   csiDriver, "deletionPolicy": "Delete",
		}}
	}
	return []applied{
		{"/apis/storage.k8s.io/v1/csidrivers/" + csiDriver, object{
			"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": object{"name": csiDriver},
			"spec": object{"attachRequired": false, "podInfoOnMount": false, "fsGroupPolicy": "File"},
		}},
		{"/apis/storage.k8s.io/v1/storageclasses/" + csiClass, object{
			"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": object{"name": csiClass},
			"provisioner": csiDriver, "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
		}},
		class(snapshots, "VolumeSnapshotClass", "volumesnapshotclasses", "velero.io/csi-volumesnapshot-class"),
		class(groups, "VolumeGroupSnapshotClass", "volumegroupsnapshotclasses", "velero.io/csi-volumegroupsnapshot-class"),
	}
}

// csiRegistered says whether the kubelet knows the driver.
func (s *starter) csiRegistered(client *api.Client) func(context.Context) error {
	return func(ctx context.Context) error {
		if !s.record.CSI {
			return nil
		}
		var node struct {
			Spec struct{ Drivers []struct{ Name string } }
		}
		if err := client.Get(ctx, "/apis/storage.k8s.io/v1/csinodes/"+nodeName, &node); err != nil {
			return err
		}
		for _, driver := range node.Spec.Drivers {
			if driver.Name == csiDriver {
				return nil
			}
		}
		return fmt.Errorf("the kubelet doesn't know driver %s", csiDriver)
	}
}

//go:build integration

package restore_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// volume is a PersistentVolume and its claim, bound to each other.
func volume(namespace, name, policy string) []string {
	return []string{
		`{apiVersion: v1, kind: PersistentVolume, metadata: {name: ` + name + `}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: m, volumeMode: Filesystem, hostPath: {path: /x, type: ""}, persistentVolumeReclaimPolicy: ` + policy + `, claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: ` + namespace + `, name: ` + name + `, uid: 11111111-1111-1111-1111-111111111111, resourceVersion: "5"}}}`,
		`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: ` + name + `, namespace: ` + namespace + `, annotations: {pv.kubernetes.io/bind-completed: "yes", pv.kubernetes.io/bound-by-controller: "yes"}}, spec: {accessModes: [ReadWriteOnce], storageClassName: m, volumeName: ` + name + `, resources: {requests: {storage: 1Gi}}}, status: {phase: Bound}}`,
	}
}

// backedUpBy says in the bucket how the volumes' data was backed up.
func (w *world) backedUpBy(backup string, methods map[string]string) {
	w.t.Helper()
	var infos []map[string]any
	for name, method := range methods {
		infos = append(infos, map[string]any{"pvName": name, "pvcName": name, "pvcNamespace": w.app, "backupMethod": method})
	}
	w.must(catalog.New(w.bucket).PutJSON(w.t.Context(), catalog.BackupFile(backup, catalog.VolumeInfo), infos))
}

// claimOf is what a volume says of its claim; nil when there is no volume.
func (w *world) claimOf(name string) map[string]any {
	w.t.Helper()
	live := w.get("persistentvolumes", "", name)
	if live == nil {
		return nil
	}
	claim, _, _ := unstructured.NestedMap(live.Object, "spec", "claimRef")
	return claim
}

// volumeOf is the volume that a claim waits for.
func (w *world) volumeOf(namespace, name string) string {
	w.t.Helper()
	claim := w.get("persistentvolumeclaims", namespace, name)
	if claim == nil {
		w.t.Fatalf("claim %s/%s is not there", namespace, name)
	}
	if annotations := claim.GetAnnotations(); len(annotations) > 0 {
		w.t.Errorf("claim %s/%s has annotations %v", namespace, name, annotations)
	}
	volume, _, _ := unstructured.NestedString(claim.Object, "spec", "volumeName")
	return volume
}

// A volume without data in the backup comes back when it outlived its claim
// (Retain); else, and where its data is in the backup, the claim gets a new one.
func TestVolumesByReclaimPolicyAndData(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	retained, deleted, copied := w.app+"-retained", w.app+"-deleted", w.app+"-copied"
	var manifests []string
	for name, policy := range map[string]string{retained: "Retain", deleted: "Delete", copied: "Retain"} {
		manifests = append(manifests, volume(w.app, name, policy)...)
	}
	w.putBackup("b", manifests...)
	w.backedUpBy("b", map[string]string{copied: "PodVolumeBackup"})
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 || summary.Warnings != 1 {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.errors("r"), copied, "PodVolumeBackup")
	w.said(w.warnings("r"), deleted, "isn't in the backup")
	want := map[string]any{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": w.app, "name": retained}
	if diff := cmp.Diff(want, w.claimOf(retained)); diff != "" {
		t.Errorf("claimRef (-want +got):\n%s", diff)
	}
	if w.claimOf(deleted) != nil || w.claimOf(copied) != nil {
		t.Error("a volume came back whose data is gone")
	}
	for name, want := range map[string]string{retained: retained, deleted: "", copied: ""} {
		if got := w.volumeOf(w.app, name); got != want {
			t.Errorf("claim %q waits for volume %q, want %q", name, got, want)
		}
	}
}

// A claim that moves leaves the volume that exists to the claim that has it: one
// with a snapshot comes back beside it, one without isn't touched.
func TestVolumeThatExistsWhenItsClaimMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	snapshotted, plain, gone := w.app+"-snapshotted", w.app+"-plain", w.app+"-gone"
	w.live()
	var manifests []string
	for _, name := range []string{snapshotted, plain, gone} {
		manifests = append(manifests, volume(w.app, name, "Retain")...)
		if name != gone {
			w.apply(volume(w.app, name, "Retain")[0])
		}
	}
	w.putBackup("b", manifests...)
	w.backedUpBy("b", map[string]string{snapshotted: "NativeSnapshot", gone: "NativeSnapshot"})
	target := w.app + "-copy"
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{w.app: target}, RestorePVs: new(bool)}, nil)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	clone := w.volumeOf(target, snapshotted)
	if !strings.HasPrefix(clone, "velero-clone-") || w.claimOf(clone)["namespace"] != target {
		t.Errorf("the moved claim waits for volume %q of %v", clone, w.claimOf(clone))
	} else if got := w.get("persistentvolumes", "", clone).GetAnnotations()["velero.io/original-pv-name"]; got != snapshotted {
		t.Errorf("original-pv-name is %q", got)
	}
	if got := w.volumeOf(target, gone); got != gone || w.claimOf(gone)["namespace"] != target {
		t.Errorf("a volume that didn't exist was renamed: the claim waits for %q of %v", got, w.claimOf(gone))
	}
	for _, name := range []string{snapshotted, plain} {
		if got := w.claimOf(name)["namespace"]; got != w.app {
			t.Errorf("the existing volume %s is now of a claim in %v", name, got)
		}
	}
	w.said(w.errors("r"), plain, "already exists", target+"/"+plain, "stays without a volume")

	for name, policy := range map[string]velerov1.PolicyType{"updated": velerov1.PolicyTypeUpdate, "recreated": velerov1.PolicyTypeRecreate} {
		spec := velerov1.RestoreSpec{BackupName: "b", NamespaceMapping: map[string]string{w.app: target + "-" + name}, ExistingResourcePolicy: policy}
		spec.IncludedResources = []string{"persistentvolumes"}
		spec.RestorePVs = new(bool)
		w.restore(name, spec, nil)
		if got := w.claimOf(plain)["namespace"]; got != w.app {
			t.Errorf("%s: the existing volume is now of a claim in %v", name, got)
		}
		w.said(w.errors(name), plain, "already exists")
	}
}

// nodePorts are those of a service, by the names of its ports.
func (w *world) nodePorts(name string) map[string]int64 {
	w.t.Helper()
	ports, _, _ := unstructured.NestedSlice(w.get("services", w.app, name).Object, "spec", "ports")
	found := map[string]int64{}
	for _, port := range ports {
		p := port.(map[string]any)
		name, _ := p["name"].(string)
		found[name], _ = p["nodePort"].(int64)
	}
	return found
}

// Node ports are given anew unless somebody chose them, or asks to keep them all.
func TestNodePorts(t *testing.T) {
	t.Parallel()
	// Ports that nobody is given at random: other tests make services, too.
	const applied = `annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":[{"name":"http","port":80,"nodePort":30071},{"name":"auto","port":81}]}}'}`
	const managed = `managedFields: [{manager: m, operation: Update, apiVersion: v1, time: "2026-01-01T00:00:00Z", fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}, "f:port": {}}}}}}]`
	service := func(name, meta string, http, auto string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: ` + name + `, namespace: APP, ` + meta + `}, spec: {type: NodePort, ports: [{name: http, port: 80, protocol: TCP, nodePort: ` + http + `}, {name: auto, port: 81, protocol: TCP, nodePort: ` + auto + `}]}}`
	}
	w := newWorld(t)
	summary := w.restored(velerov1.RestoreSpec{},
		service("applied", applied, "30071", "30072"), service("managed", managed, "30073", "30074"), service("given", "", "30075", "30076"))
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	for name, kept := range map[string]int64{"applied": 30071, "managed": 30073, "given": 0} {
		ports := w.nodePorts(name)
		if kept != 0 && ports["http"] != kept || ports["auto"] == kept+1 || ports["http"] == 0 || name == "given" && (ports["http"] == 30075 || ports["auto"] == 30076) {
			t.Errorf("service %q has ports %v", name, ports)
		}
	}
	// A service that is there with the ports it had: nothing to do.
	live := w.get("services", w.app, "given")
	live.SetManagedFields(nil)
	live.SetLabels(nil)
	body, err := live.MarshalJSON()
	w.must(err)
	ports := w.nodePorts("given")
	w.must(w.kube.CoreV1().Services(w.app).Delete(t.Context(), "given", metav1.DeleteOptions{}))
	w.putBackup("kept", string(body))
	preserve := true
	for _, name := range []string{"first", "second"} {
		summary, _ := w.restore(name, velerov1.RestoreSpec{BackupName: "kept", PreserveNodePorts: &preserve}, nil)
		if summary.Outcome != report.Completed || summary.Warnings != 0 {
			t.Errorf("%s: summary %+v, results %+v", name, summary, w.results(name))
		}
		if diff := cmp.Diff(ports, w.nodePorts("given")); diff != "" {
			t.Errorf("%s: ports (-want +got):\n%s", name, diff)
		}
	}
}

//go:build integration

package restore_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// backUp makes a backup with our own engine.
func (w *world) backUp(name string, spec velerov1.BackupSpec) {
	w.t.Helper()
	spec.StorageLocation = "default"
	_, err := w.client.Backups(w.velero).Create(w.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.velero}, Spec: spec,
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	w.must(err)
	ctx, cancel, env, err := run.Start(w.t.Context(), run.Options{
		Namespace: w.velero, Kubeconfig: w.kubeconfig, CredentialsFile: w.location.CredentialsFile,
	}, "backup", name)
	w.must(err)
	defer cancel()
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: name})
	w.must(err)
	if summary.Outcome != report.Completed {
		w.t.Fatalf("backup: %+v", summary)
	}
}

// application is one object of each kind that restores treat in a way of its own.
const application = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: APP}, imagePullSecrets: [{name: pull}]}
---
{apiVersion: v1, kind: Secret, metadata: {name: pull, namespace: APP}, type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: "{}"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: APP, annotations: {note: "ä <&>"}, finalizers: [example.com/hold]}, data: {big: "12345678901234567890"}, binaryData: {blob: AAEC/w==}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: fixed, namespace: APP}, immutable: true, data: {a: b}}
---
{apiVersion: v1, kind: Service, metadata: {name: plain, namespace: APP}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: chosen, namespace: APP}, spec: {clusterIP: 10.97.77.77, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: headless, namespace: APP}, spec: {clusterIP: None, ports: [{port: 5432}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: elsewhere, namespace: APP}, spec: {type: ExternalName, externalName: db.example.com}}
---
{apiVersion: v1, kind: Service, metadata: {name: balanced, namespace: APP}, spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 443}]}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: "reader:pods", namespace: APP}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: APP}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "reader:pods"}, subjects: [{kind: ServiceAccount, name: web, namespace: APP}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-nodes}, rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-nodes}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-nodes}, subjects: [{kind: ServiceAccount, name: web, namespace: APP}]}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-static}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: manual, hostPath: {path: /x, type: ""}, persistentVolumeReclaimPolicy: Retain, volumeMode: Filesystem, claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: APP, name: static, uid: 11111111-1111-1111-1111-111111111111}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: static, namespace: APP}, spec: {accessModes: [ReadWriteOnce], storageClassName: manual, volumeName: APP-static, resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: PersistentVolume, metadata: {name: APP-dynamic}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: fast, csi: {driver: x.example.com, volumeHandle: h}, persistentVolumeReclaimPolicy: Delete, volumeMode: Filesystem, claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: APP, name: dynamic, uid: 22222222-2222-2222-2222-222222222222}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: dynamic, namespace: APP, annotations: {pv.kubernetes.io/bind-completed: "yes", pv.kubernetes.io/bound-by-controller: "yes", volume.kubernetes.io/selected-node: node1, volume.kubernetes.io/storage-provisioner: x.example.com}}, spec: {accessModes: [ReadWriteOnce], storageClassName: fast, volumeName: APP-dynamic, resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: APP}, spec: {replicas: 1, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: c, image: x}]}}}}
---
{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: web-5c6d7, namespace: APP, labels: {app: web, pod-template-hash: 5c6d7}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: 33333333-3333-3333-3333-333333333333, controller: true}]}, spec: {replicas: 1, selector: {matchLabels: {app: web, pod-template-hash: 5c6d7}}, template: {metadata: {labels: {app: web, pod-template-hash: 5c6d7}}, spec: {serviceAccountName: web, containers: [{name: c, image: x}]}}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-5c6d7-abcde, generateName: web-5c6d7-, namespace: APP, labels: {app: web, pod-template-hash: 5c6d7}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5c6d7, uid: 44444444-4444-4444-4444-444444444444, controller: true}]}, spec: {serviceAccountName: web, nodeName: node1, containers: [{name: c, image: x}], volumes: [{name: a, persistentVolumeClaim: {claimName: static}}, {name: b, persistentVolumeClaim: {claimName: dynamic}}]}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly, namespace: APP}, spec: {schedule: "0 3 * * *", timeZone: Etc/UTC, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}}}
---
{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web, namespace: APP}, spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: APP}, spec: {podSelector: {}, policyTypes: [Ingress]}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: web, namespace: APP}, spec: {rules: [{host: x.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: plain, port: {number: 80}}}}]}}]}}
---
{apiVersion: APP.example.com/v1, kind: Gear, metadata: {name: big, namespace: APP, finalizers: [example.com/hold]}, spec: {big: 123456789012345678, f: 1.5, nested: [1, two, null, true]}}`

const gears = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear, listKind: GearList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]`

// newClaim is how a claim whose volume doesn't come back differs.
var newClaim = exception{reason: "the claim gets a new volume", kinds: []string{"PersistentVolumeClaim"}, when: isDynamic, fields: [][]string{
	{"spec", "volumeName"},
	{"metadata", "annotations", "volume.kubernetes.io/selected-node"}, {"metadata", "annotations", "volume.kubernetes.io/storage-provisioner"},
}}

func isDynamic(object map[string]any) bool {
	class, _, _ := unstructured.NestedString(object, "spec", "storageClassName")
	return class == "fast"
}

// applications counts those that were deployed: each has an address of its own, of
// those that no service is given at random.
var applications atomic.Int32

// deployApplication makes the application in the world's namespace and returns
// its manifests.
func (w *world) deployApplication() []string {
	w.t.Helper()
	w.live(gears)
	w.eventually("the new kind is served", func() bool {
		_, err := w.dynamic.Resource(resourceOf(object(w.in(`{apiVersion: APP.example.com/v1, kind: Gear}`)[0]))).Namespace(w.app).List(w.t.Context(), metav1.ListOptions{})
		return err == nil
	})
	address := fmt.Sprintf("10.97.0.%d", 100+applications.Add(1))
	manifests := w.in(strings.Split(strings.ReplaceAll(application, "10.97.77.77", address), "---\n")...)
	for _, manifest := range manifests {
		w.apply(manifest)
	}
	for _, claim := range []string{"static", "dynamic"} {
		_, err := w.kube.CoreV1().PersistentVolumeClaims(w.app).Patch(w.t.Context(), claim, types.MergePatchType, []byte(`{"status":{"phase":"Bound"}}`), metav1.PatchOptions{}, "status")
		w.must(err)
	}
	return manifests
}

// TestOurBackupInAnotherCluster backs up one cluster and restores into another,
// whose services have other addresses, then compares field by field.
func TestOurBackupInAnotherCluster(t *testing.T) {
	t.Parallel()
	from := newWorld(t)
	manifests := from.deployApplication()
	from.backUp("b", velerov1.BackupSpec{IncludedNamespaces: []string{from.app}, SnapshotVolumes: new(bool)})

	to := newWorldIn(t, testenv.OtherKubeconfig(t), from.location)
	to.addBackup("b")
	summary, _ := to.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.Completed {
		t.Fatalf("summary %+v, results %+v", summary, to.results("r"))
	}
	to.said(to.warnings("r"), from.app+"-dynamic", "isn't in the backup")
	for _, manifest := range append(manifests, from.in(gears)...) {
		u := object(manifest)
		before, err := from.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Get(t.Context(), u.GetName(), metav1.GetOptions{})
		from.must(err)
		after, err := to.dynamic.Resource(resourceOf(u)).Namespace(u.GetNamespace()).Get(t.Context(), u.GetName(), metav1.GetOptions{})
		if u.GetName() == from.app+"-dynamic" {
			if err == nil {
				t.Error("the volume of the other cluster, without its data, was restored")
			}
			continue
		}
		if err != nil {
			t.Errorf("%s %s: %v", u.GetKind(), u.GetName(), err)
			continue
		}
		list := append([]exception{newClaim}, exceptions[:len(exceptions)-1]...) // there is no LimitRange
		if diff := cmp.Diff(exceptFor(list, before), exceptFor(list, after)); diff != "" {
			t.Errorf("%s %s (-before +after):\n%s", u.GetKind(), u.GetName(), diff)
		}
	}
	if name, _, _ := unstructured.NestedString(to.get("persistentvolumeclaims", from.app, "dynamic").Object, "spec", "volumeName"); name != "" {
		t.Errorf("the dynamic claim waits for volume %q", name)
	}
	ip, _, _ := unstructured.NestedString(to.get("services", from.app, "chosen").Object, "spec", "clusterIP")
	if !strings.HasPrefix(ip, "10.250.") {
		t.Errorf("the service has address %q", ip)
	}
}

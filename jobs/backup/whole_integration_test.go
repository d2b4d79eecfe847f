//go:build integration

package backup_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// What an unfiltered backup leaves out, kind by kind. Everything else that can
// be listed is in it.
var leftOut = map[string]string{
	"componentstatuses":        "can't be created: nothing to restore",
	"events.events.k8s.io":     "the same objects as events",
	"bindings":                 "can't be listed",
	"selfsubjectreviews":       "can't be listed",
	"volumesnapshots.snapshot": "only those of the backup itself",
}

// enumerate lists, kind by kind and independently of the engine, what the API
// server holds.
func (f *fixture) enumerate() map[string]bool {
	f.t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		f.t.Fatal(err)
	}
	found := map[string]bool{}
	labelled := f.labelledNamespaces()
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range list.APIResources {
			gvr := gv.WithResource(r.Name)
			if slices.Contains(r.Verbs, "list") && leftOut[gvr.GroupResource().String()] == "" {
				f.enumerateKind(gvr, labelled, found)
			}
		}
	}
	return found
}

// labelledNamespaces are those whose owners don't want them in backups.
func (f *fixture) labelledNamespaces() map[string]bool {
	f.t.Helper()
	list, err := f.dynamic.Resource(namespaces).List(f.t.Context(), metav1.ListOptions{LabelSelector: velerov1.ExcludeFromBackupLabel + "=true"})
	if err != nil {
		f.t.Fatal(err)
	}
	labelled := map[string]bool{}
	for _, ns := range list.Items {
		labelled[ns.GetName()] = true
	}
	return labelled
}

func (f *fixture) enumerateKind(gvr schema.GroupVersionResource, labelled, found map[string]bool) {
	f.t.Helper()
	list, err := f.dynamic.Resource(gvr).List(f.t.Context(), metav1.ListOptions{})
	if err != nil {
		f.t.Fatalf("list %s: %v", gvr, err)
	}
	for _, item := range list.Items {
		if !labelled[item.GetNamespace()] && item.GetDeletionTimestamp() == nil && item.GetLabels()[velerov1.ExcludeFromBackupLabel] != "true" {
			found[fmt.Sprintf("%s %s/%s", gvr.GroupResource(), item.GetNamespace(), item.GetName())] = true
		}
	}
}

const oneOfEach = `# storageclasses
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: APP}, provisioner: kubernetes.io/no-provisioner}
---
# priorityclasses
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP}, value: 1000}
---
# validatingwebhookconfigurations
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: APP}}
---
# mutatingwebhookconfigurations
{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: APP}}
---
# validatingadmissionpolicies
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: APP}, spec: {matchConstraints: {resourceRules: [{apiGroups: [none.example.com], apiVersions: [v1], operations: [CREATE], resources: [nones]}]}, validations: [{expression: "true"}]}}
---
# ingressclasses
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: APP}, spec: {controller: example.com/x}}
---
# runtimeclasses
{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: APP}, handler: runc}
---
# csidrivers
{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: APP.example.com}}
---
# clusterroles
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: "system:APP"}, rules: []}
---
# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: regions.APP.example.com}
spec:
  group: APP.example.com
  scope: Cluster
  names: {plural: regions, singular: region, kind: Region}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
# regions
{apiVersion: APP.example.com/v1, kind: Region, metadata: {name: eu-west}}
---
# roles
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: "a:b", namespace: APP}, rules: []}
---
# events
{apiVersion: v1, kind: Event, metadata: {name: happened, namespace: APP}, involvedObject: {kind: Pod, namespace: APP, name: x}}
---
# leases
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: theirs, namespace: APP}}
`

// Velero 1.18.0 leaves most cluster-scoped objects out of an unfiltered backup
// and says nothing.
func TestUnfilteredBackupHoldsEveryObjectOfTheCluster(t *testing.T) {
	f := newFixture(t)
	f.manifests(oneOfEach)
	before := f.enumerate()
	f.backUp("all", report.Completed, velerov1.BackupSpec{SnapshotVolumes: new(bool)})
	after := f.enumerate()
	stored := map[string]bool{}
	for _, item := range f.items("all") {
		if stored[item] = true; !before[item] && !after[item] {
			t.Errorf("%s is in the backup and not in the cluster", item)
		}
	}
	for item := range before {
		if after[item] && !stored[item] {
			t.Errorf("the backup lacks %s", item)
		}
	}
	for _, plural := range []string{"storageclasses.storage.k8s.io", "regions." + f.app + ".example.com", "customresourcedefinitions.apiextensions.k8s.io"} {
		if !slices.ContainsFunc(f.items("all"), func(item string) bool { return strings.HasPrefix(item, plural+" ") }) {
			t.Errorf("no %s: the test doesn't test", plural)
		}
	}
}

const ours = `# jobs
{apiVersion: batch/v1, kind: Job, metadata: {name: nightly-1, namespace: VELERO, labels: {kubectl-velero.io/operation: backup}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}
---
# cronjobs
{apiVersion: batch/v1, kind: CronJob, metadata: {name: velero-maintenance, namespace: VELERO, labels: {component: velero}}, spec: {schedule: "17 * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}}}
---
# leases
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: maintenance, namespace: VELERO, labels: {component: velero}}}
---
# clusterrolebindings
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-velero-restore, labels: {kubectl-velero.io/operation: restore}}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}, subjects: [{kind: ServiceAccount, name: velero-restore, namespace: VELERO}]}
---
# podtemplates
{apiVersion: v1, kind: PodTemplate, metadata: {name: executor, namespace: VELERO, labels: {component: velero}}, template: {spec: {containers: [{name: c, image: x}]}}}
---
# jobs
{apiVersion: batch/v1, kind: Job, metadata: {name: theirs, namespace: VELERO}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: x}]}}}}
`

func TestNothingOfOursIsInAnArchive(t *testing.T) {
	f := newFixture(t)
	f.manifests(strings.ReplaceAll(ours, "VELERO", f.velero))
	f.backUp("all", report.Completed, velerov1.BackupSpec{})
	items := f.items("all")
	for _, item := range []string{
		"jobs.batch VELERO/nightly-1", "cronjobs.batch VELERO/velero-maintenance", "leases.coordination.k8s.io VELERO/maintenance",
		"clusterrolebindings.rbac.authorization.k8s.io /APP-velero-restore", "podtemplates VELERO/executor",
	} {
		if item = strings.NewReplacer("VELERO", f.velero, "APP", f.app).Replace(item); slices.Contains(items, item) {
			t.Errorf("%s is in the archive", item)
		}
	}
	if !slices.Contains(items, "jobs.batch "+f.velero+"/theirs") {
		t.Error("somebody else's Job in that namespace isn't in the archive")
	}
	if _, _, skipped := f.kind("all", "jobs.batch"); len(skipped) == 0 {
		t.Error("the coverage doesn't say that ours were skipped")
	}
}

func TestNoCredentialIsInTheBucket(t *testing.T) {
	f := newFixture(t)
	const planted = "planted-key-7f3a9c51d2"
	secret := func(namespace, name string) {
		f.create("secrets", namespace, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Data: map[string][]byte{"cloud": []byte(planted)}})
	}
	names := []string{"cloud-credentials", "velero-repo-credentials", "of-a-location", "of-a-snapshot-location"}
	for _, name := range names {
		secret(f.velero, name)
	}
	selector := func(name string) *corev1.SecretKeySelector {
		return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "cloud"}
	}
	_, err := f.client.BackupStorageLocations(f.velero).Create(t.Context(), &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: f.velero},
		Spec:       velerov1.BackupStorageLocationSpec{Provider: "aws", Credential: selector("of-a-location"), ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "elsewhere"}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.client.VolumeSnapshotLocations(f.velero).Create(t.Context(), &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "disks", Namespace: f.velero},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: "aws", Credential: selector("of-a-snapshot-location")},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.create("secrets", f.velero, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "somebody-elses", Namespace: f.velero}})
	f.create("secrets", f.app, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "cloud-credentials", Namespace: f.app}})
	f.backUp("all", report.Completed, velerov1.BackupSpec{SnapshotVolumes: new(bool)})
	for _, key := range f.keys() {
		body := f.object(key)
		if bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
			body = gunzip(t, body)
		}
		for _, form := range []string{planted, base64.StdEncoding.EncodeToString([]byte(planted))} {
			if bytes.Contains(body, []byte(form)) {
				t.Errorf("%s holds the key", key)
			}
		}
	}
	items := f.items("all")
	for _, want := range []string{"secrets " + f.velero + "/somebody-elses", "secrets " + f.app + "/cloud-credentials"} {
		if !slices.Contains(items, want) {
			t.Errorf("the archive lacks %s, which is nobody's key", want)
		}
	}
	_, _, skipped := f.kind("all", "secrets")
	total := 0
	for reason, n := range skipped {
		if strings.Contains(reason, "credential") || strings.Contains(reason, "location") {
			total += n
		}
	}
	if total != len(names) {
		t.Errorf("the coverage says that these secrets were skipped: %v, want %d of them for being credentials", skipped, len(names))
	}
}

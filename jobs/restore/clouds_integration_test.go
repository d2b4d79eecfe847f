//go:build integration

package restore_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	volumes "github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// cloudDisk is a disk as any of the clouds describes it.
type cloudDisk struct {
	Content string
	// Kind is its type, with what of its speed was chosen.
	Kind, Zone, Team string
}

// cloud is an account of a provider.
type cloud interface {
	// reachedBy is how a snapshotter reaches it.
	reachedBy(t *testing.T) snapshot.Config
	// driven and builtIn make disks with this content, and return what a volume of
	// their driver or of Kubernetes' own has as its source, in YAML.
	driven(name, content string) string
	builtIn(name, content string) string
	// overwrite replaces the content of a disk.
	overwrite(name, content string)
	// find looks for the disk that a volume is on.
	find(pv *corev1.PersistentVolume) (cloudDisk, bool)
	// count is how many disks there are.
	count() int
	// refuse makes the account have no room for disks, or room again.
	refuse(refuse bool)
}

// clouds are the providers of disk snapshots.
var clouds = map[string]struct {
	start func(*testing.T) cloud
	// topology is the key of zones in node affinities; zone is where the disks are,
	// other another one of the region, and nowhere is none.
	topology, zone, other, nowhere string
	// kinds are the types of the driven and of the built-in disk.
	driven, builtIn string
	// quota is the provider's code for an account that is full.
	quota string
}{
	"aws": {
		start: startAWS, topology: "topology.ebs.csi.aws.com/zone", zone: "eu-central-1b", other: "eu-central-1c", nowhere: "eu-central-1z",
		driven: "io2 4000", builtIn: "gp2", quota: "VolumeLimitExceeded",
	},
	"azure": {
		start: startAzure, topology: "topology.disk.csi.azure.com/zone", zone: "westeurope-2", other: "westeurope-3", nowhere: "westeurope-9",
		driven: "PremiumV2_LRS 5000", builtIn: "Premium_LRS", quota: "QuotaExceeded",
	},
	"gcp": {
		start: startGCP, topology: "topology.gke.io/zone", zone: "europe-west1-b", other: "europe-west1-c", nowhere: "mars-1",
		driven: "hyperdisk-balanced 4000", builtIn: "pd-ssd", quota: "QUOTA_EXCEEDED",
	},
}

// Volumes of each provider go through both executors: what was on their disks when
// they were backed up is on disks of the same kind beside them.
func TestDisksOfEachCloud(t *testing.T) {
	t.Parallel()
	for provider, c := range clouds {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			a := &account{world: newWorld(t), cloud: c.start(t), provider: provider}
			a.fill(c.topology, c.zone)
			a.backUp()
			a.overwrite(a.app+"-driven", "later")
			a.overwrite(a.app+"-builtin", "later")

			before := a.count()
			a.copied("mapped", velerov1.RestoreSpec{})
			a.isOn("mapped", cloudDisk{"driven", c.driven, c.zone, "shop"}, cloudDisk{"builtin", c.builtIn, c.zone, "shop"})
			a.isOn("", cloudDisk{"later", c.driven, c.zone, "shop"}, cloudDisk{"later", c.builtIn, c.zone, "shop"})
			if made := a.count() - before; made != 2 {
				t.Errorf("%d disks were made", made)
			}
			a.listed("mapped")

			a.copied("elsewhere", a.moving("elsewhere", c.topology, c.zone, c.other))
			a.isOn("elsewhere", cloudDisk{"driven", c.driven, c.other, "shop"}, cloudDisk{"builtin", c.builtIn, c.other, "shop"})

			a.failed("nowhere", a.moving("nowhere", c.topology, c.zone, c.nowhere), `another zone than "`+c.nowhere+`" with a resource modifier`)
			a.refuse(true)
			a.failed("full", velerov1.RestoreSpec{}, c.quota)
			a.refuse(false)
			a.dropSnapshots()
			a.failed("gone", velerov1.RestoreSpec{}, "backup verify --volumes")
		})
	}
}

// account is a world whose application has its data in a cloud: on a volume of the
// provider's CSI driver and on one that is built into Kubernetes.
type account struct {
	*world
	cloud
	provider string
}

// fill makes the application, and the location of its snapshots.
func (a *account) fill(topology, zone string) {
	a.t.Helper()
	_, err := a.client.VolumeSnapshotLocations(a.velero).Create(a.t.Context(), &velerov1.VolumeSnapshotLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "disks", Namespace: a.velero},
		Spec:       velerov1.VolumeSnapshotLocationSpec{Provider: a.provider, Config: a.reachedBy(a.t).Settings},
	}, metav1.CreateOptions{})
	a.must(err)
	a.apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ` + a.app + `}}`)
	affinity := `, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: ` + topology + `, operator: In, values: [` + zone + `]}]}]}}`
	driven, builtIn := volume(a.app, a.app+"-driven", "Delete"), volume(a.app, a.app+"-builtin", "Retain")
	for _, v := range [][]string{
		{driven[0], driven[1], a.driven(a.app+"-driven", "driven") + affinity, "{"},
		{builtIn[0], builtIn[1], a.builtIn(a.app+"-builtin", "builtin"), "{labels: {topology.kubernetes.io/zone: " + zone + "}, "},
	} {
		pv := strings.Replace(v[0], `hostPath: {path: /x, type: ""}`, v[2], 1)
		a.apply(strings.Replace(pv, "metadata: {", "metadata: "+v[3], 1))
		a.apply(v[1])
	}
	for _, kind := range []string{"driven", "builtin"} {
		name := a.app + "-" + kind
		a.setPhase(name, corev1.VolumeBound)
		_, err := a.kube.CoreV1().PersistentVolumeClaims(a.app).Patch(a.t.Context(), name, types.MergePatchType, []byte(`{"status":{"phase":"Bound"}}`), metav1.PatchOptions{}, "status")
		a.must(err)
	}
}

// open is how the executors reach the account.
func (a *account) open(ctx context.Context, location *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
	config := a.reachedBy(a.t)
	config.Location = location.Name
	return run.OpenSnapshotter(ctx, location.Spec.Provider, config)
}

func (a *account) reach(cfg *restore.Config) { cfg.OpenSnapshotter = a.open }

// backUp makes the backup "b" of the application.
func (a *account) backUp() {
	a.t.Helper()
	_, err := a.client.Backups(a.velero).Create(a.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: a.velero},
		Spec:       velerov1.BackupSpec{StorageLocation: "default", IncludedNamespaces: []string{a.app}},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	a.must(err)
	ctx, cancel, env, err := run.Start(a.t.Context(), run.Options{Namespace: a.velero, Kubeconfig: a.kubeconfig, CredentialsFile: a.location.CredentialsFile}, "backup", "b")
	a.must(err)
	defer cancel()
	env.OpenSnapshotter = a.open
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: "b"})
	a.must(err)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		a.t.Fatalf("backup: %+v", summary)
	}
}

// records are what the backup says of its snapshots.
func (a *account) records() []volumes.Snapshot {
	a.t.Helper()
	var records []volumes.Snapshot
	a.must(catalog.New(a.bucket).GetJSON(a.t.Context(), catalog.BackupFile("b", catalog.VolumeSnapshots), &records))
	if len(records) != 2 {
		a.t.Fatalf("the backup has snapshots %+v", records)
	}
	return records
}

// into is the spec of a restore into the namespace that is named after it.
func (a *account) into(name string, spec velerov1.RestoreSpec) velerov1.RestoreSpec {
	spec.BackupName, spec.NamespaceMapping = "b", map[string]string{a.app: a.app + "-" + name}
	return spec
}

// copied restores beside the application, which is still there.
func (a *account) copied(name string, spec velerov1.RestoreSpec) {
	a.t.Helper()
	summary, _ := a.restore(name, a.into(name, spec), a.reach)
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		a.t.Fatalf("%s: summary %+v, results %+v", name, summary, a.results(name))
	}
}

// failed restores what can't be: each volume is named with these words, and nothing is
// left behind.
func (a *account) failed(name string, spec velerov1.RestoreSpec, words ...string) {
	a.t.Helper()
	before := a.count()
	summary, _ := a.restore(name, a.into(name, spec), a.reach)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 2 {
		a.t.Errorf("%s: summary %+v", name, summary)
	}
	for _, kind := range []string{"driven", "builtin"} {
		claim := a.app + "-" + name + "/" + a.app + "-" + kind
		a.said(a.errors(name), append([]string{"persistentvolumes/velero-clone-", "claim " + claim + " waits", "hint: "}, words...)...)
		if pv := a.volumeOf(a.app+"-"+name, a.app+"-"+kind); a.get("persistentvolumes", "", pv) != nil {
			a.t.Errorf("%s: claim %s has volume %q", name, claim, pv)
		}
	}
	if left := a.count() - before; left != 0 {
		a.t.Errorf("%s: %d disks are left", name, left)
	}
}

// isOn checks the disks of a restored application; that of no restore is the original.
func (a *account) isOn(name string, driven, builtIn cloudDisk) {
	a.t.Helper()
	namespace := a.app
	if name != "" {
		namespace += "-" + name
	}
	for kind, want := range map[string]cloudDisk{"driven": driven, "builtin": builtIn} {
		claim, err := a.kube.CoreV1().PersistentVolumeClaims(namespace).Get(a.t.Context(), a.app+"-"+kind, metav1.GetOptions{})
		a.must(err)
		pv, err := a.kube.CoreV1().PersistentVolumes().Get(a.t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		a.must(err)
		if ref := pv.Spec.ClaimRef; ref == nil || ref.Namespace != namespace || ref.Name != claim.Name || strings.HasPrefix(pv.Name, "velero-clone-") != (name != "") {
			a.t.Errorf("claim %s/%s names volume %s, which is for %v", namespace, claim.Name, pv.Name, ref)
		}
		got, ok := a.find(pv)
		if diff := cmp.Diff(want, got); !ok || diff != "" {
			a.t.Errorf("%s: disk of volume %s, which is there: %t (-want +got):\n%s", namespace, kind, ok, diff)
		}
		if zone := volumes.Zone(pv); zone != want.Zone {
			a.t.Errorf("%s: volume %s says that it is in %q", namespace, kind, zone)
		}
	}
}

// listed checks what the restore tells of its volumes.
func (a *account) listed(name string) {
	a.t.Helper()
	var infos []volumes.RestoreInfo
	a.output(name, catalog.RestoreVolumeInfo, &infos)
	handles := map[string]bool{}
	for _, record := range a.records() {
		handles[record.Status.ProviderSnapshotID] = true
	}
	for _, info := range infos {
		if info.Method != volumes.NativeSnapshot || info.PVCNamespace != a.app+"-"+name || !handles[info.Native.SnapshotHandle] {
			a.t.Errorf("volume info %+v, %+v", info, info.Native)
		}
	}
	if len(infos) != 2 {
		a.t.Errorf("volume infos %+v", infos)
	}
}

// moving is a restore whose volumes go into another zone.
func (a *account) moving(name, topology, from, to string) velerov1.RestoreSpec {
	a.t.Helper()
	a.config(name, "", map[string]string{"rules": `version: v1
resourceModifierRules:
- conditions: {groupResource: persistentvolumes, matches: [{path: /spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/key, value: ` + topology + `}]}
  patches:
  - {operation: replace, path: /spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0, value: ` + to + `}
- conditions: {groupResource: persistentvolumes, labelSelector: {matchLabels: {topology.kubernetes.io/zone: ` + from + `}}}
  mergePatches:
  - patchData: '{"metadata": {"labels": {"topology.kubernetes.io/zone": "` + to + `"}}}'
`})
	return velerov1.RestoreSpec{ResourceModifier: &corev1.TypedLocalObjectReference{Kind: "ConfigMap", Name: name}}
}

// dropSnapshots deletes the snapshots of the backup, as somebody else would.
func (a *account) dropSnapshots() {
	a.t.Helper()
	location, err := a.client.VolumeSnapshotLocations(a.velero).Get(a.t.Context(), "disks", metav1.GetOptions{})
	a.must(err)
	snapshotter, err := a.open(a.t.Context(), location)
	a.must(err)
	for _, record := range a.records() {
		a.must(snapshotter.Delete(a.t.Context(), record.Status.ProviderSnapshotID))
	}
}

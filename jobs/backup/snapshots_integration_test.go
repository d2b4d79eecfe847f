//go:build integration

package backup_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestClaimsAreSnapshottedByTheirDriver(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b", "c")
	_, after := d.backUp("one", report.Completed, d.only())
	status := after.Status
	if status.CSIVolumeSnapshotsAttempted != 3 || status.CSIVolumeSnapshotsCompleted != 3 || status.Warnings != 0 || status.VolumeSnapshotsAttempted != 0 ||
		status.BackupItemOperationsAttempted != 3 || status.BackupItemOperationsCompleted != 3 || status.BackupItemOperationsFailed != 0 {
		t.Errorf("status %+v", status)
	}
	d.expectNoObjects()
	d.expectSnapshots(3)
	infos := d.infos("one")
	for _, claim := range []string{"a", "b", "c"} {
		d.checkSnapshot("one", claim, infos[claim])
	}
	var operations []volume.Operation
	d.side("one", "itemoperations.json.gz", &operations)
	if len(operations) != 3 {
		t.Errorf("operations %+v", operations)
	}
	for _, op := range operations {
		parts := strings.Split(op.Spec.OperationID, "/")
		if op.Status.Phase != volume.OperationCompleted || len(parts) != 3 || parts[0] != d.app || parts[1] != op.Spec.ResourceIdentifier.Name || len(op.Spec.PostOperationItems) != 2 {
			t.Errorf("operation %+v", op)
		}
	}
	var class snapshotv1.VolumeSnapshotClass
	d.stored("one", "volumesnapshotclasses.snapshot.storage.k8s.io", d.Driver, &class)
	d.checkMarkerLocations("one", nil)
}

// order notes requests as they come.
type order struct {
	mu     sync.Mutex
	events []string
	times  map[string]time.Time
}

func (o *order) note(event string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, event)
	if o.times == nil {
		o.times = map[string]time.Time{}
	}
	if _, ok := o.times[event]; !ok {
		o.times[event] = time.Now()
	}
}

// watch is a fault that only notes what is asked about snapshots and hooks.
func (o *order) watch(w http.ResponseWriter, r *http.Request, next http.Handler) {
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/exec"):
		o.note("exec " + r.URL.Query().Get("command"))
		http.Error(w, "there is no kubelet here", http.StatusInternalServerError)
		return
	case strings.Contains(path, "snapshot.storage.k8s.io"):
		kind := path[strings.LastIndex(path, "/")+1:]
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			kind = "object"
		}
		o.note(r.Method + " " + kind)
	}
	next.ServeHTTP(w, r)
}

// All snapshots are asked for before anybody looks whether any is there.
func TestAllSnapshotsAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a", "b", "c", "d", "e")
	d.Fault(t, testenv.CSIFault{NotReady: 3})
	var o order
	d.clusterThrough(o.watch)
	d.backUp("one", report.Completed, d.only())
	first, last := slices.Index(o.events, "GET volumesnapshots"), -1
	posts := 0
	for i, event := range o.events {
		if event == "POST volumesnapshots" {
			last = i
			posts++
		}
	}
	if posts != 5 || first < last {
		t.Errorf("%d snapshots asked for, order %q", posts, o.events)
	}
	d.expectSnapshots(5)
}

// Post hooks wait for the cut, not for the snapshot to be usable.
func TestSnapshotsAreCutBetweenTheHooks(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.account()
	d.data("a", "b", "free")
	d.pod("web", "a", "b")
	d.patchStatus(podsV1, d.app, "web", `{"phase":"Running"}`)
	d.Fault(t, testenv.CSIFault{Method: "CreateSnapshot", Delay: 500 * time.Millisecond, Times: 2}, testenv.CSIFault{NotReady: 4})
	var o order
	d.clusterThrough(o.watch)
	hook := func(command string) []velerov1.BackupResourceHook {
		return []velerov1.BackupResourceHook{{Exec: &velerov1.ExecHook{Command: []string{command}, OnError: velerov1.HookErrorModeContinue}}}
	}
	_, after := d.backUp("one", report.PartiallyFailed, d.only(func(s *velerov1.BackupSpec) {
		s.Hooks.Resources = []velerov1.BackupResourceHookSpec{{Name: "h", PreHooks: hook("freeze"), PostHooks: hook("thaw")}}
	}))
	if after.Status.Errors != 2 || after.Status.CSIVolumeSnapshotsCompleted != 3 {
		t.Errorf("status %+v", after.Status)
	}
	freeze, thaw := o.times["exec freeze"], o.times["exec thaw"]
	cut, ready := map[string]time.Time{}, time.Time{}
	for _, call := range d.Calls(t) {
		if call.Method != "CreateSnapshot" || call.Code != "OK" {
			continue
		}
		if _, again := cut[call.Volume]; !again {
			cut[call.Volume] = call.Time
		}
		ready = call.Time
	}
	for _, claim := range []string{"a", "b"} {
		at, ok := cut["vol-"+d.app+"-"+claim]
		if !ok || at.Before(freeze) || !at.Before(thaw) {
			t.Errorf("%s was cut at %s, frozen from %s to %s", claim, at, freeze, thaw)
		}
	}
	if cut["vol-"+d.app+"-free"].Before(thaw) {
		t.Error("a volume that no hook is about was cut while the pod was frozen")
	}
	if !thaw.Before(ready) {
		t.Error("the pod was frozen until the snapshots were ready")
	}
	for _, claim := range []string{"a", "b", "free"} {
		d.checkSnapshot("one", claim, d.infos("one")[claim])
	}
}

// Without a wish for snapshots nothing is asked about them.
func TestSwitchedOffSnapshotsCostNothing(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a")
	var o order
	d.clusterThrough(o.watch)
	d.backUp("off", report.Completed, d.only(func(s *velerov1.BackupSpec) { s.SnapshotVolumes = new(bool) }))
	if len(o.events) > 0 {
		t.Errorf("requests %q", o.events)
	}
	if info := d.infos("off")["a"]; !info.Skipped || info.SkippedReason != "volumeSnapshot: snapshotVolumes is false;" || info.Method != "" {
		t.Errorf("info %+v", info)
	}
	d.expectSnapshots(0)
}

func TestPoliciesDecideAboutSnapshots(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.Volume(t, d.app, "mine", "1Gi", "who", "me")
	d.Volume(t, d.app, "yours", "1Gi", "who", "you")
	d.manifests("# persistentvolumeclaims\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: waiting, namespace: APP, labels: {who: me}}, spec: {accessModes: [ReadWriteOnce], storageClassName: other, resources: {requests: {storage: 9Gi}}}}")
	d.patchStatus(claims, d.app, "waiting", `{"phase":"Pending"}`)
	policy := func(name, mine, yours string) func(*velerov1.BackupSpec) {
		return func(s *velerov1.BackupSpec) {
			s.ResourcePolicy = d.policy(name, fmt.Sprintf("version: v1\nvolumePolicies:\n- conditions: {pvcLabels: {who: me}}\n  action: {type: %s}\n- conditions: {pvcLabels: {who: you}}\n  action: {type: %s}\n", mine, yours))
		}
	}
	off := func(s *velerov1.BackupSpec) { s.SnapshotVolumes = new(bool) }
	_, after := d.backUp("some", report.Completed, d.only(policy("some", "snapshot", "skip"), off))
	warnings, _ := d.results("some")
	if after.Status.CSIVolumeSnapshotsCompleted != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "waiting") {
		t.Errorf("status %+v, warnings %q", after.Status, warnings)
	}
	infos := d.infos("some")
	d.checkSnapshot("some", "mine", infos["mine"])
	if info := infos["yours"]; !info.Skipped || info.SkippedReason != "any: a resource policy skips it;" {
		t.Errorf("info %+v", info)
	}
	d.backUp("none", report.PartiallyFailed, d.only(policy("none", "skip", "fs-backup")))
	_, errors := d.results("none")
	if len(errors) != 1 || !strings.Contains(errors[0], "fs-backup") {
		t.Errorf("errors %q", errors)
	}
	d.expectSnapshots(1)
}

// Of what a selection takes, and only of that, snapshots are taken.
func TestSnapshotsFollowTheSelection(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.account()
	for _, name := range []string{"mounted", "labelled", "left"} {
		d.data(name)
	}
	d.pod("web", "mounted")
	d.labelled("persistentvolumeclaims", "labelled", "it")
	d.labelled("pods", "web", "it")
	for _, c := range []struct {
		name     string
		spec     func(*velerov1.BackupSpec)
		want     []string
		warnings int
	}{
		{"labels", func(s *velerov1.BackupSpec) {
			s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"take": "it"}}
		}, []string{"labelled", "mounted"}, 0},
		{"no-volumes", func(s *velerov1.BackupSpec) { s.IncludeClusterResources = new(bool) }, []string{"labelled", "left", "mounted"}, 0},
		{"no-claims", func(s *velerov1.BackupSpec) { s.ExcludedResources = []string{"pvc"} }, nil, 0},
		{"claims", func(s *velerov1.BackupSpec) { s.IncludedResources = []string{"pvc"} }, []string{"labelled", "left", "mounted"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := driven{d.in(t), d.CSI}
			before := len(d.Snapshots(t))
			_, after := d.backUp(c.name, report.Completed, d.only(c.spec))
			var got []string
			for _, item := range d.items(c.name) {
				if claim, ok := strings.CutPrefix(item, "persistentvolumeclaims "+d.app+"/"); ok {
					got = append(got, claim)
					d.checkSnapshot(c.name, claim, d.infos(c.name)[claim])
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, got); diff != "" || after.Status.Warnings != c.warnings {
				t.Errorf("%d warnings, claims (-want +got):\n%s", after.Status.Warnings, diff)
			}
			if made := len(d.Snapshots(t)) - before; made != len(c.want) {
				t.Errorf("%d snapshots were made", made)
			}
		})
	}
}

// A volume that nothing covers is named, also when the backup doesn't hold it.
func TestUncoveredVolumesAreNamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	for name, c := range map[string]struct {
		spec     velerov1.BackupSpec
		warnings int
	}{
		"stored":     {velerov1.BackupSpec{}, 1},
		"asked":      {velerov1.BackupSpec{SnapshotVolumes: yes()}, 1},
		"not-stored": {velerov1.BackupSpec{IncludeClusterResources: new(bool)}, 1},
		"off":        {velerov1.BackupSpec{SnapshotVolumes: new(bool)}, 0},
		"off-both":   {velerov1.BackupSpec{SnapshotVolumes: new(bool), IncludeClusterResources: new(bool)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			c.spec.IncludedNamespaces = []string{f.app}
			f.backUp(name, report.Completed, c.spec)
			warnings, _ := f.results(name)
			if len(warnings) != c.warnings || c.warnings > 0 && (!strings.Contains(warnings[0], "name: /data") || !strings.Contains(warnings[0], "not its data")) {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

func yes() *bool { b := true; return &b }

// What pods want saved file by file isn't snapshotted instead.
func TestFilesAreNotSnapshottedInstead(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.account()
	d.data("files", "other")
	d.pod("web", "files", "other")
	d.annotate("web", `{"backup.velero.io/backup-volumes":"files"}`)
	d.backUp("one", report.PartiallyFailed, d.only())
	_, errors := d.results("one")
	infos := d.infos("one")
	if info := infos["files"]; len(errors) != 1 || !info.Skipped || info.SkippedReason != "podvolume: not saved file by file;" || !strings.Contains(info.Decision, d.app+"/web") {
		t.Errorf("errors %q, info %+v", errors, info)
	}
	d.checkSnapshot("one", "other", infos["other"])
	d.expectSnapshots(1)
}

// Claims of a group are snapshotted together, also those of pods with hooks and those
// that the selection itself leaves out.
func TestGroupsAreSnapshottedTogether(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.account()
	for _, name := range []string{"a", "b", "c"} {
		d.Volume(t, d.app, name, "1Gi", "velero.io/volume-group", "db", "take", name)
	}
	d.data("single")
	groups := func() int {
		made := map[string]bool{}
		for _, call := range d.Calls(t) {
			if call.Method == "CreateVolumeGroupSnapshot" && call.Code == "OK" {
				made[call.Group] = true // asked for again until it is ready
			}
		}
		return len(made)
	}
	check := func(name string, want int) {
		t.Helper()
		infos := d.infos(name)
		handles := map[string]bool{}
		for _, claim := range []string{"a", "b", "c"} {
			d.checkSnapshot(name, claim, infos[claim])
			handles[infos[claim].CSI.GroupHandle] = true
		}
		if len(handles) != 1 || handles[""] {
			t.Errorf("%s: group handles %v", name, handles)
		}
		if got := groups(); got != want {
			t.Errorf("%s: %d group snapshots, want %d", name, got, want)
		}
	}
	d.backUp("all", report.Completed, d.only())
	check("all", 1)
	d.backUp("labels", report.Completed, d.only(func(s *velerov1.BackupSpec) {
		s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"take": "a"}}
	}))
	check("labels", 2)
}

// The Secrets by which a driver finds its snapshots are in the backup, each once.
func TestSecretsOfDriversComeAlong(t *testing.T) {
	t.Parallel()
	d := newDriven(t, testenv.CSIOptions{})
	d.data("a")
	other := d.app + "-driver"
	d.create("namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}})
	for _, ns := range []string{d.app, other} {
		d.create("secrets", ns, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "key"}})
	}
	for _, ns := range []string{d.app, other} {
		patch := fmt.Sprintf(`{"metadata":{"annotations":{"csi.storage.k8s.io/snapshotter-list-secret-name":"key","csi.storage.k8s.io/snapshotter-list-secret-namespace":%q}}}`, ns)
		classes := d.dynamic.Resource(snapshotsV1.GroupVersion().WithResource("volumesnapshotclasses"))
		if _, err := classes.Patch(t.Context(), d.Driver, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		d.backUp(ns, report.Completed, d.only())
		if item := "secrets " + ns + "/key"; !slices.Contains(d.items(ns), item) {
			t.Errorf("%s isn't stored", item)
		}
	}
}

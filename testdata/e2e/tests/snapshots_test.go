//go:build e2e

package tests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

// TestSnapshotsUnderLoad backs up three volumes that are being written to. The
// driver's copies are no points in time, so that what is shown is that each file
// ends at or after the last record on disk before the backup, and, by the order of
// the calls, that all are cut before any is waited for.
func TestSnapshotsUnderLoad(t *testing.T) {
	s := start(t)
	v := newVolumeTest(s)
	v.deploy(`post.hook.backup.velero.io/command: '["/writer","note","/control/after"]'`)
	before := v.volumes(v.namespace)
	// Readiness that takes its time tells apart who waits for it from who doesn't.
	const unready = 4
	v.fault(map[string]any{"id": v.pattern(before), "notReady": unready})
	v.synced(200)
	synced := v.synced(0)

	name := unique("load")
	v.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", v.namespace, "--wait")
	v.orderOfCalls(before, unready)
	v.storedInfo(name, 3)
	snapshots := v.snapshotsOf(before)
	if len(snapshots) != 3 {
		t.Fatalf("the driver has the snapshots %v", snapshots)
	}
	for claim, volume := range before {
		v.prefix("snapshot of "+claim, v.records("snapshots", snapshots[volume]), synced)
	}

	v.lose(v.namespace)
	if left := v.snapshotsOf(before); len(left) != 3 {
		t.Fatalf("with the namespace all snapshots but %v went", left)
	}
	v.must("kubectl", "velero", "restore", "create", name, "--from-backup", name, "--wait")
	v.running(v.namespace)
	for claim, volume := range v.volumes(v.namespace) {
		if volume == before[claim] {
			t.Errorf("claim %s has its old volume", claim)
		}
		snapshot, restored := v.records("snapshots", snapshots[before[claim]]), v.records("volumes", volume)
		v.prefix("claim "+claim, restored, synced)
		if whole := len(snapshot) / recordSize * recordSize; !strings.HasPrefix(restored, snapshot[:whole]) {
			t.Errorf("claim %s has %d bytes that aren't those of its snapshot of %d bytes", claim, len(restored), len(snapshot))
		}
	}

	v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	v.checkDeleted(name)
	if left := v.snapshotsOf(before); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
}

// TestSnapshotsByteForByte backs up three volumes whose writers were stopped by a
// hook, and compares all that is on them with two restores.
func TestSnapshotsByteForByte(t *testing.T) {
	s := start(t)
	v := newVolumeTest(s)
	v.deploy(`pre.hook.backup.velero.io/command: '["/writer","stop","/a"]'`)
	v.synced(50)
	name, other := unique("stopped"), v.namespace+"-other"
	v.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", v.namespace, "--wait")
	before := v.volumes(v.namespace)
	want := map[string]string{}
	for claim, volume := range before {
		want[claim] = v.tree(volume)
		if lines := strings.Count(want[claim], "\n"); lines < 8 {
			t.Fatalf("claim %s has only %d files:\n%s", claim, lines, want[claim])
		}
	}

	v.after("kubectl", "delete", "namespace", other, "--wait=false", "--ignore-not-found")
	mapped := unique("mapped")
	v.must("kubectl", "velero", "restore", "create", mapped, "--from-backup", name, "--namespace-mappings", v.namespace+":"+other, "--wait")
	v.running(other)
	v.sameTrees(other, want)
	for claim, volume := range v.volumes(v.namespace) {
		if volume != before[claim] {
			t.Errorf("claim %s of the mapped namespace's origin has another volume", claim)
		}
	}

	v.lose(v.namespace)
	v.must("kubectl", "velero", "restore", "create", name, "--from-backup", name, "--wait")
	v.running(v.namespace)
	v.sameTrees(v.namespace, want)

	v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	if left := v.snapshotsOf(before); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
	// What was restored doesn't depend on the backup.
	v.sameTrees(v.namespace, want)
}

// TestTenSnapshots tells how long ten volumes take beside one. Nothing runs beside
// it.
func TestTenSnapshots(t *testing.T) {
	s := serial(t)
	v := newVolumeTest(s)
	var took []time.Duration
	for _, n := range []int{1, 10} {
		namespace := fmt.Sprintf("%s-%d", v.namespace, n)
		v.claims(namespace, n)
		name := unique("many")
		started := time.Now()
		v.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", namespace, "--wait")
		took = append(took, time.Since(started))
		v.storedInfo(name, n)
		v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
		if left := v.snapshotsOf(v.volumes(namespace)); len(left) > 0 {
			t.Errorf("the deleted backup left the snapshots %v", left)
		}
	}
	t.Logf("one volume: %.1f s, ten: %.1f s, that is %.2f times as long", took[0].Seconds(), took[1].Seconds(), took[1].Seconds()/took[0].Seconds())
}

// TestSnapshotRefused backs up two volumes, one of which the driver refuses: the
// other one is there, what failed is told and leaves nothing. The code is a final
// one: with others csi-snapshotter tries on and deletes nothing.
func TestSnapshotRefused(t *testing.T) {
	s := start(t)
	v := newVolumeTest(s)
	v.claims(v.namespace, 2)
	volumes := v.volumes(v.namespace)
	v.fault(map[string]any{"id": v.pattern(map[string]string{"": volumes["claim-1"]}), "method": "CreateSnapshot", "code": "Internal", "message": "the quota is used up"})
	name := unique("refused")
	result := v.try("kubectl", "velero", "backup", "create", name, "--include-namespaces", v.namespace, "--csi-snapshot-timeout", "20s", "--wait")
	if result.Code != 2 {
		t.Errorf("exit status %d of %s, want 2", result.Code, console.Quote([]string{"backup", "create"}))
	}
	if got := v.must("kubectl", "velero", "backup", "describe", name, "--details"); !strings.Contains(got, "the quota is used up") {
		t.Errorf("describe doesn't say why a volume isn't in the backup:\n%s", got)
	}
	if left := v.snapshotsOf(volumes); len(left) != 1 || left[volumes["claim-0"]] == "" {
		t.Errorf("the driver has the snapshots %v", left)
	}
	list, err := v.dynamic.Resource(volumeSnapshotContents).List(t.Context(), metav1.ListOptions{})
	v.check(err)
	for _, content := range list.Items {
		if namespace, _ := content.Object["spec"].(map[string]any)["volumeSnapshotRef"].(map[string]any)["namespace"].(string); namespace == v.namespace {
			t.Errorf("left in the cluster: VolumeSnapshotContent %s", content.GetName())
		}
	}
	v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	if left := v.snapshotsOf(volumes); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
}

// TestSnapshotsVerified asks whether a backup's snapshots are there, before and
// after one of them has gone behind its back.
func TestSnapshotsVerified(t *testing.T) {
	s := start(t)
	v := newVolumeTest(s)
	v.claims(v.namespace, 2)
	name := unique("verified")
	v.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", v.namespace, "--wait")
	v.exits(0, "kubectl", "velero", "backup", "verify", name, "--volumes")
	volumes := v.volumes(v.namespace)
	file := filepath.Join(v.csi.Data, "snapshots", v.snapshotsOf(volumes)[volumes["claim-1"]])
	v.check(errors.Join(os.Remove(file+".json"), os.RemoveAll(file)))
	result := v.exits(3, "kubectl", "velero", "backup", "verify", name, "--volumes")
	for _, line := range strings.Split(result.Stdout, "\n") {
		if strings.Contains(line, "claim-0") && strings.Contains(line, "missing") || strings.Contains(line, "claim-1") && !strings.Contains(line, "missing") {
			t.Errorf("the check says %q", line)
		}
	}
	if !strings.Contains(result.Stdout, "claim-1") {
		t.Errorf("the check doesn't name what is missing:\n%s", result.Stdout)
	}
	v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	if left := v.snapshotsOf(volumes); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
}

// TestSnapshotGroup backs up claims that a label makes one group: the driver cuts
// them in one call, and each comes back with what it had.
func TestSnapshotGroup(t *testing.T) {
	s := start(t)
	v := newVolumeTest(s)
	v.claims(v.namespace, 3)
	v.must("kubectl", "-n", v.namespace, "label", "persistentvolumeclaim", "claim-0", "claim-1", "velero.io/volume-group=both")
	volumes := v.volumes(v.namespace)
	for claim, volume := range volumes {
		v.check(os.WriteFile(filepath.Join(v.csi.Data, "volumes", volume, "file"), []byte(claim), 0o644))
	}
	name, other := unique("group"), v.namespace+"-other"
	v.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", v.namespace, "--wait")
	v.storedInfo(name, 3)
	snapshots := v.snapshotsOf(volumes)
	if !strings.HasPrefix(snapshots[volumes["claim-0"]], "snap-group-") || strings.HasPrefix(snapshots[volumes["claim-2"]], "snap-group-") {
		t.Errorf("the driver has the snapshots %v", snapshots)
	}

	v.after("kubectl", "delete", "namespace", other, "--wait=false", "--ignore-not-found")
	v.must("kubectl", "velero", "restore", "create", name, "--from-backup", name, "--namespace-mappings", v.namespace+":"+other, "--wait")
	for claim, volume := range v.volumes(other) {
		body, err := os.ReadFile(filepath.Join(v.csi.Data, "volumes", volume, "file"))
		if err != nil || string(body) != claim {
			t.Errorf("claim %s has %q, %v", claim, body, err)
		}
	}

	v.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	if left := v.snapshotsOf(volumes); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
}

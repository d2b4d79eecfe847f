//go:build e2e

package tests

import (
	"strings"
	"testing"
)

// TestTwoDrivers restores volumes in another cluster that sees the same storage, by
// a driver and a kubelet of its own. The snapshots stay whose they are: what the
// other cluster does with its objects for them doesn't delete them, it may not
// delete the backup, and its volumes don't need the snapshots any more.
func TestTwoDrivers(t *testing.T) {
	q := alone(t)
	if q.bed == shared || q.cluster.CSI == nil {
		t.Skip("it needs a second local cluster")
	}
	s := shared.session(t)
	s.installed.Do(s.install)
	here := newVolumeTest(s)
	there := &volumeTest{session: q, csi: *q.cluster.CSI, namespace: here.namespace}
	name, location := unique("twodrivers"), unique("twodrivers")
	prefix := otherPrefix + "/" + location
	// The backup has a place that only these two look at.
	s.must("kubectl", "velero", "backup-location", "create", location, "--provider", "aws", "--bucket", bucket,
		"--prefix", prefix, "--config", s.s3.LocationConfig())
	here.deploy(`pre.hook.backup.velero.io/command: '["/writer","stop","/a"]'`)
	here.synced(50)
	s.must("kubectl", "velero", "backup", "create", name, "--storage-location", location, "--include-namespaces", here.namespace, "--wait")
	before := here.volumes(here.namespace)
	want := map[string]string{}
	for claim, volume := range before {
		want[claim] = here.tree(volume)
	}

	there.receive(s, name, prefix)
	there.sameTrees(there.namespace, want)
	for claim, volume := range there.volumes(there.namespace) {
		if volume == before[claim] {
			t.Errorf("both clusters have volume %s for claim %s", volume, claim)
		}
	}
	here.sameTrees(here.namespace, want)
	if left := here.snapshotsOf(before); len(left) != len(before) {
		t.Errorf("after the restore there are only the snapshots %v", left)
	}
	result := q.try("kubectl", "velero", "backup", "delete", name, "--confirm")
	if said := result.Stdout + result.Stderr; result.Code == 0 || !strings.Contains(said, "--force") {
		t.Errorf("the other cluster deletes the backup: exit status %d: %s", result.Code, said)
	}

	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	s.must("kubectl", "velero", "backup-location", "delete", location, "--confirm")
	if left := here.snapshotsOf(before); len(left) > 0 {
		t.Errorf("the deleted backup left the snapshots %v", left)
	}
	there.sameTrees(there.namespace, want)
}

// receive installs the product with the folder of another cluster's bucket, finds the
// backup there, and restores it.
func (v *volumeTest) receive(from *session, backup, prefix string) {
	v.t.Helper()
	v.must("kubectl", "velero", "uninstall", "--force", "--wait") // what an earlier test has left
	v.after("kubectl", "velero", "uninstall", "--force", "--wait")
	v.must(from.installArgs(namespace, "--prefix", prefix, "--wait")...)
	v.loadProgram("writer", "/writer")
	v.must("kubectl", "velero", "backup-location", "sync", "default")
	// To the end: the next test may look at all that this cluster has.
	v.after("kubectl", "delete", "persistentvolumes", "--all", "--timeout="+patience.String())
	v.after("kubectl", "delete", "namespace", v.namespace, "--ignore-not-found", "--timeout="+patience.String())
	v.must("kubectl", "velero", "restore", "create", backup, "--from-backup", backup, "--wait")
	v.running(v.namespace)
}

//go:build cluster

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/cluster"
)

// claim is one that is bound at once, and a pod that writes to it.
const claim = `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME, namespace: default}
spec: {accessModes: [ReadWriteOnce], storageClassName: csi-test, resources: {requests: {storage: 1Mi}}SOURCE}
---
apiVersion: v1
kind: Pod
metadata: {name: NAME, namespace: default}
spec:
  restartPolicy: Never
  containers:
  - name: c
    image: testbed.local/busybox:1
    command: [sh, -ec, "COMMAND"]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: NAME}}]
`

const volumeSnapshot = `
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: NAME, namespace: default}
spec: {volumeSnapshotClassName: csi-test, source: {persistentVolumeClaimName: first}}
`

// pod runs a command on a claim of the pod's name, and returns what it said.
func (b bed) pod(name, source, command string) string {
	b.t.Helper()
	b.apply(strings.NewReplacer("NAME", name, "SOURCE", source, "COMMAND", command).Replace(claim))
	b.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/"+name, "--timeout=60s")
	return b.kubectl("logs", name)
}

func (b bed) snapshot(name string) {
	b.t.Helper()
	b.apply(strings.ReplaceAll(volumeSnapshot, "NAME", name))
	b.kubectl("wait", "--for=jsonpath={.status.readyToUse}=true", "volumesnapshot/"+name, "--timeout=60s")
}

func TestCSI(t *testing.T) {
	t.Parallel()
	b := newBed(t, "e2e-csi")
	b.up("full", "--csi")
	b.pod("first", "", "echo one > /data/file")
	b.snapshot("one")
	const source = ", dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: one}"
	if got := b.pod("second", source, "cat /data/file"); got != "one" {
		t.Errorf("the copy has %q", got)
	}
	b.killDriver()
	b.snapshot("two")
	if files, err := filepath.Glob(filepath.Join(b.status().CSI.Data, "snapshots", "*.json")); err != nil || len(files) != 2 {
		t.Errorf("the driver has the snapshots %q, %v", files, err)
	}

	b.crash("kubelet")
	b.up("full")
	b.pod("third", source, "cat /data/file")
}

// killDriver ends the driver as a crash does: it and its sidecars are started
// again, and the cluster doesn't count as crashed.
func (b bed) killDriver() {
	b.t.Helper()
	data := b.status().CSI.Data
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		b.t.Fatal(err)
	}
	killed := 0
	for _, entry := range entries {
		line, err := os.ReadFile(entry)
		if err != nil || !strings.Contains(string(line), "\x00"+data+"\x00") || strings.Contains(string(line), cluster.SuperviseCommand) {
			continue // it has ended, or is another one
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(entry)))
		if err != nil {
			b.t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			b.t.Fatal(err)
		}
		killed++
	}
	if killed != 1 {
		b.t.Fatalf("killed %d drivers", killed)
	}
	if s := b.status(); s.State != cluster.StateRunning {
		b.t.Errorf("without its driver for a moment, the cluster is %s: %s", s.State, s.Reason)
	}
}

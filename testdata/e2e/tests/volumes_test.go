//go:build e2e

package tests

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// recordSize is the length of the writer's records.
const recordSize = 64

var volumeSnapshotContents = schema.GroupVersionResource{Group: "snapshot.storage.k8s.io", Version: "v1", Resource: "volumesnapshotcontents"}

// volumeTest is a namespace of its own with volumes of the test-bed's driver.
type volumeTest struct {
	*session
	csi       provider.CSI
	namespace string
}

func newVolumeTest(s *session) *volumeTest {
	s.t.Helper()
	if s.cluster.CSI == nil {
		s.t.Skip("it needs the test-bed's CSI driver")
	}
	return &volumeTest{session: s, csi: *s.cluster.CSI, namespace: unique("volumes")}
}

// writers is an application with three volumes.
const writers = `apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: v1
kind: Service
metadata: {name: writer, namespace: NAMESPACE}
spec: {clusterIP: None, selector: {app: writer}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: writer, namespace: NAMESPACE}
spec:
  serviceName: writer
  replicas: 1
  selector: {matchLabels: {app: writer}}
  template:
    metadata:
      labels: {app: writer}
      annotations: {HOOK}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: writer
        image: IMAGE
        imagePullPolicy: IfNotPresent
        args: [run, /control, /a, /b, /c]
        volumeMounts:
        - {name: control, mountPath: /control}
        - {name: a, mountPath: /a}
        - {name: b, mountPath: /b}
        - {name: c, mountPath: /c}
      volumes: [{name: control, emptyDir: {}}]
  volumeClaimTemplates:
  - {metadata: {name: a}, spec: &claim {accessModes: [ReadWriteOnce], storageClassName: CLASS, resources: {requests: {storage: 16Mi}}}}
  - {metadata: {name: b}, spec: *claim}
  - {metadata: {name: c}, spec: *claim}
`

// deploy starts the application, whose pod has this annotation.
func (v *volumeTest) deploy(hook string) {
	v.t.Helper()
	image := v.loadProgram("writer", "/writer")
	v.after("kubectl", "delete", "namespace", v.namespace, "--wait=false", "--ignore-not-found")
	v.apply(strings.NewReplacer("NAMESPACE", v.namespace, "IMAGE", image, "CLASS", v.csi.Class, "HOOK", hook).Replace(writers))
	v.running(v.namespace)
}

func (v *volumeTest) running(namespace string) {
	v.t.Helper()
	v.must("kubectl", "-n", namespace, "rollout", "status", "statefulset/writer", "--timeout="+patience.String())
}

// claims makes a namespace with so many bound claims that no pod uses.
func (v *volumeTest) claims(namespace string, n int) {
	v.t.Helper()
	v.after("kubectl", "delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
	text := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n"
	for i := range n {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: claim-%d, namespace: %s}\n"+
			"spec: {accessModes: [ReadWriteOnce], storageClassName: %s, resources: {requests: {storage: 1Mi}}}\n", i, namespace, v.csi.Class)
	}
	v.apply(text)
	v.must("kubectl", "-n", namespace, "wait", "--for=jsonpath={.status.phase}=Bound", "persistentvolumeclaims", "--all", "--timeout="+patience.String())
}

// volumes returns the driver's handles of a namespace's volumes by their claims.
func (v *volumeTest) volumes(namespace string) map[string]string {
	v.t.Helper()
	claims, err := v.kube.CoreV1().PersistentVolumeClaims(namespace).List(v.t.Context(), metav1.ListOptions{})
	v.check(err)
	handles := map[string]string{}
	for _, claim := range claims.Items {
		pv, err := v.kube.CoreV1().PersistentVolumes().Get(v.t.Context(), claim.Spec.VolumeName, metav1.GetOptions{})
		v.check(err)
		if pv.Spec.CSI == nil {
			v.t.Fatalf("the volume of claim %s isn't one of a CSI driver", claim.Name)
		}
		handles[claim.Name] = pv.Spec.CSI.VolumeHandle
	}
	if len(handles) == 0 {
		v.t.Fatalf("namespace %s has no claims", namespace)
	}
	return handles
}

// synced waits until the writer has put a record on all its volumes, and returns
// the number of the last one.
func (v *volumeTest) synced(atLeast int) (last int) {
	v.t.Helper()
	v.eventually(fmt.Sprintf("the writer reaches record %d", atLeast), func() bool {
		result := v.try("kubectl", "-n", v.namespace, "exec", "writer-0", "--", "/writer", "cat", "/control/synced")
		if result.Code != 0 {
			return false // it has just begun
		}
		var err error
		last, err = strconv.Atoi(strings.TrimSpace(result.Stdout))
		v.check(err)
		return last >= atLeast
	})
	return last
}

// records is what the writer's file has in a volume or a snapshot.
func (v *volumeTest) records(kind, handle string) string {
	v.t.Helper()
	body, err := os.ReadFile(filepath.Join(v.csi.Data, kind, handle, "records"))
	v.check(err)
	return string(body)
}

// prefix wants the records 1 to n, with n at least as given, and no other text but
// the beginning of the next one.
func (v *volumeTest) prefix(what, body string, atLeast int) {
	v.t.Helper()
	n := 0
	for ; len(body) >= recordSize; n++ {
		if want := fmt.Sprintf("record %d .", n+1); !strings.HasPrefix(body, want) || body[recordSize-1] != '\n' {
			v.t.Fatalf("%s: record %d is %q", what, n+1, body[:recordSize])
		}
		body = body[recordSize:]
	}
	if next := fmt.Sprintf("record %d .", n+1); !strings.HasPrefix(next, body[:min(len(body), len(next))]) {
		v.t.Errorf("%s: behind record %d there is %q", what, n, body)
	}
	v.t.Logf("%s: records 1 to %d, synced before the backup: %d", what, n, atLeast)
	if n < atLeast {
		v.t.Errorf("%s ends with record %d, but %d was on disk when the backup began", what, n, atLeast)
	}
}

// tree tells all that is on a volume.
func (v *volumeTest) tree(handle string) string {
	v.t.Helper()
	root := filepath.Join(v.csi.Data, "volumes", handle)
	var all strings.Builder
	v.check(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		content := ""
		switch info.Mode().Type() {
		case 0:
			body, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%d %x", len(body), sha256.Sum256(body))
		case fs.ModeSymlink:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		}
		fmt.Fprintf(&all, "%s %s %d:%d %s\n", strings.TrimPrefix(path, root), info.Mode(), owner.Uid, owner.Gid, content)
		return nil
	}))
	return all.String()
}

// sameTrees wants the volumes of a namespace's claims to have what is given.
func (v *volumeTest) sameTrees(namespace string, want map[string]string) {
	v.t.Helper()
	got := map[string]string{}
	for claim, volume := range v.volumes(namespace) {
		got[claim] = v.tree(volume)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		v.t.Errorf("files in namespace %s (-want +got):\n%s", namespace, diff)
	}
}

// snapshotsOf returns the driver's snapshots of these volumes, by volume.
func (v *volumeTest) snapshotsOf(volumes map[string]string) map[string]string {
	v.t.Helper()
	files, err := filepath.Glob(filepath.Join(v.csi.Data, "snapshots", "*.json"))
	v.check(err)
	snapshots := map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // of another test
		}
		v.check(err)
		var record struct{ ID, Source string }
		v.check(json.Unmarshal(body, &record))
		for _, volume := range volumes {
			if record.Source == volume {
				snapshots[volume] = record.ID
			}
		}
	}
	return snapshots
}

// pattern fits the handles of these volumes.
func (v *volumeTest) pattern(volumes map[string]string) string {
	var all []string
	for _, volume := range volumes {
		all = append(all, regexp.QuoteMeta(volume))
	}
	return "^(" + strings.Join(all, "|") + ")$"
}

// faults are those of all tests, as the driver is shared.
var faults struct {
	sync.Mutex
	all []map[string]any
}

// fault makes the driver misbehave in this way until the test ends.
func (v *volumeTest) fault(fault map[string]any) {
	v.t.Helper()
	change := func(change func([]map[string]any) []map[string]any) {
		faults.Lock()
		defer faults.Unlock()
		faults.all = change(faults.all)
		body, err := json.Marshal(faults.all)
		v.check(err)
		file := filepath.Join(v.csi.Data, "faults.json")
		v.check(os.WriteFile(file+".new", body, 0o644))
		v.check(os.Rename(file+".new", file))
	}
	change(func(all []map[string]any) []map[string]any { return append(slices.Clone(all), fault) })
	v.t.Cleanup(func() {
		change(func(all []map[string]any) []map[string]any {
			return slices.DeleteFunc(slices.Clone(all), func(one map[string]any) bool { return one["id"] == fault["id"] })
		})
	})
}

// call is one that the driver has answered.
type call struct {
	Time             time.Time
	Took             float64
	Method           string
	Volume, Snapshot string
	Code             string
}

func (c call) end() time.Time { return c.Time.Add(time.Duration(c.Took * float64(time.Second))) }

// calls returns those about snapshots of these volumes, in order.
func (v *volumeTest) calls(volumes map[string]string) []call {
	v.t.Helper()
	body, err := os.ReadFile(filepath.Join(v.csi.Data, "calls.ndjson"))
	v.check(err)
	ours := map[string]bool{}
	for _, snapshot := range v.snapshotsOf(volumes) {
		ours[snapshot] = true
	}
	var calls []call
	for _, line := range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
		var c call
		v.check(json.Unmarshal(line, &c))
		if ours[c.Snapshot] {
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(a, b call) int { return a.Time.Compare(b.Time) })
	return calls
}

// orderOfCalls wants all volumes to be cut before any snapshot was ready, of which
// the driver said so many times that it isn't, and the post hook after the cuts.
func (v *volumeTest) orderOfCalls(volumes map[string]string, unready int) {
	v.t.Helper()
	answers := map[string]int{}
	var lastCut, firstReady time.Time
	for _, c := range v.calls(volumes) {
		answers[c.Snapshot]++
		switch {
		case answers[c.Snapshot] == 1:
			lastCut = c.end()
		case answers[c.Snapshot] > unready && firstReady.IsZero():
			firstReady = c.Time
		}
	}
	if len(answers) != len(volumes) || firstReady.IsZero() || firstReady.Before(lastCut) {
		v.t.Errorf("%d of %d volumes are cut, the last one at %s; the first snapshot is ready at %s", len(answers), len(volumes), lastCut, firstReady)
	}
	text := v.must("kubectl", "-n", v.namespace, "exec", "writer-0", "--", "/writer", "cat", "/control/after")
	hook, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(text))
	v.check(err)
	v.t.Logf("last cut %s, post hook %s, first snapshot ready %s", lastCut.UTC().Format(time.StampMilli), hook.UTC().Format(time.StampMilli), firstReady.UTC().Format(time.StampMilli))
	if hook.Before(lastCut) {
		v.t.Errorf("the post hook ran at %s, the last volume was cut at %s", hook, lastCut)
	}
	if hook.After(firstReady) {
		v.t.Errorf("the post hook ran at %s, when a snapshot was ready: %s", hook, firstReady)
	}
}

// storedInfo wants a backup to say that it has so many CSI snapshots.
func (v *volumeTest) storedInfo(backup string, n int) {
	v.t.Helper()
	var infos []struct {
		PVCName      string `json:"pvcName"`
		BackupMethod string `json:"backupMethod"`
		Result       string `json:"result"`
	}
	v.decode("backups/"+backup+"/"+backup+"-volumeinfo.json.gz", &infos)
	good := 0
	for _, info := range infos {
		if info.BackupMethod == "CSISnapshot" && info.Result == "succeeded" {
			good++
		}
	}
	if good != n || len(infos) != n {
		v.t.Errorf("of %d volumes %d are snapshots: %+v", n, good, infos)
	}
}

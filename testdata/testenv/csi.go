package testenv

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
)

// CSIOptions say what StartCSI starts beside the driver, csi-snapshotter and
// snapshot-controller. The zero value is what a backup needs.
type CSIOptions struct {
	// Provisioner also starts csi-provisioner and Kubernetes' own controllers that
	// bind and protect volumes, so that a claim of the StorageClass gets a volume,
	// also one with a dataSource. These controllers look after all claims and
	// volumes of the API server: a test that makes others by hand uses
	// OtherKubeconfig.
	Provisioner bool
	// NoClass leaves out the VolumeSnapshotClass and the VolumeGroupSnapshotClass.
	NoClass bool
	// Storage is a driver whose name and data this one is to share: another cluster
	// that sees the same storage. It must outlive this one.
	Storage *CSI
}

// CSI is a driver of the test's own, with its sidecars. Its classes bear its name.
// It is for one test and ends with it; snapshot-controller is shared by the tests
// of an API server. Its methods are safe for concurrent use.
type CSI struct {
	// Driver is the driver's name: also that of its StorageClass (Immediate,
	// Delete), its VolumeSnapshotClass (Delete, with Velero's label) and its
	// VolumeGroupSnapshotClass.
	Driver string
	// Data is the folder with the driver's volumes, snapshots and log of calls.
	Data string

	folder     string // also has the socket and the logs
	bin        string // where the programs are
	kubeconfig string
	options    CSIOptions
	kube       kubernetes.Interface
	shared     *csiControllers

	mu      sync.Mutex
	running []*serverProcess // the driver, then its sidecars
}

// CSIVolume is a volume with what stands for it in the cluster.
type CSIVolume struct {
	Handle string // how the driver calls it
	PV     string // name of its PersistentVolume
}

// CSICall is a call that the driver has answered.
type CSICall struct {
	Time     time.Time `json:"time"`   // when it came
	Method   string    `json:"method"` // such as CreateSnapshot
	Volume   string    `json:"volume,omitempty"`
	Snapshot string    `json:"snapshot,omitempty"` // handle, or name of one being made
	Group    string    `json:"group,omitempty"`
	Code     string    `json:"code"` // OK, or the gRPC code
}

// CSIFault makes calls of the driver misbehave.
type CSIFault struct {
	// Method is the call that it is for, such as CreateSnapshot; empty is all.
	Method string `json:"method,omitempty"`
	// ID is a regular expression that the handle of the call's volume or snapshot
	// must match; empty is all.
	ID string `json:"id,omitempty"`
	// Code is the gRPC code of the answer, such as ResourceExhausted for a quota
	// or FailedPrecondition for what is in use; empty lets the call go on.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"` // goes with the code
	// Late lets the driver do the call's work before it answers with the code.
	Late bool `json:"late,omitempty"`
	// Delay passes before the call does anything.
	Delay time.Duration `json:"delay,omitempty"`
	// NotReady lets snapshots be cut, but not be ready in so many answers about
	// each of them; -1 is never. It goes with ID only, which also matches the
	// volume of a snapshot.
	NotReady int `json:"notReady,omitempty"`
	// Times is how many calls it is for; 0 is all.
	Times int `json:"times,omitempty"`
}

// Write writes a file of a volume.
func (c *CSI) Write(tb testing.TB, handle, file, data string) {
	tb.Helper()
	if err := os.WriteFile(c.path(handle, file), []byte(data), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// Read returns what a file of a volume, or of a snapshot, has.
func (c *CSI) Read(tb testing.TB, handle, file string) string {
	tb.Helper()
	body, err := os.ReadFile(c.path(handle, file))
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

func (c *CSI) path(handle, file string) string {
	kind := "volumes"
	if strings.HasPrefix(handle, "snap-") {
		kind = "snapshots"
	}
	return filepath.Join(c.Data, kind, handle, file)
}

// Volumes lists the handles of the driver's volumes, sorted.
func (c *CSI) Volumes(tb testing.TB) []string {
	tb.Helper()
	return c.handles(tb, "volumes")
}

// Snapshots lists the handles of the driver's snapshots, sorted.
func (c *CSI) Snapshots(tb testing.TB) []string {
	tb.Helper()
	return c.handles(tb, "snapshots")
}

func (c *CSI) handles(tb testing.TB, kind string) []string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(c.Data, kind, "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".json")
	}
	slices.Sort(files)
	return files
}

// Calls returns what the driver was called for, in the order of its answers, but
// for the calls that ask what it is and can do.
func (c *CSI) Calls(tb testing.TB) []CSICall {
	tb.Helper()
	body, err := os.ReadFile(filepath.Join(c.Data, "calls.ndjson"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	var calls []CSICall
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		var call CSICall
		if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
			tb.Fatalf("read the driver's calls: %v", err)
		}
		calls = append(calls, call)
	}
	return calls
}

// Fault makes the driver misbehave from its next call on, in the first way of
// these that fits a call. It replaces the earlier faults; none ends them.
func (c *CSI) Fault(tb testing.TB, faults ...CSIFault) {
	tb.Helper()
	body, err := json.Marshal(faults)
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(c.Data, "faults.json")
	if err := errors.Join(os.WriteFile(file+".new", body, 0o644), os.Rename(file+".new", file)); err != nil {
		tb.Fatal(err)
	}
}

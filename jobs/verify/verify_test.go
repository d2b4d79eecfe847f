package verify_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/jobs/verify"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	veleroNamespace = "/apis/velero.io/v1/namespaces/velero/"
	marker          = `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"shop","uid":"u"},"status":{"phase":"Completed"}}`
)

// drivers answer by handle: "" is there, "gone" isn't, anything else is an error.
type drivers map[string]string

func (d drivers) Exists(_ context.Context, h csi.Handle, _ time.Duration) (bool, error) {
	switch said := d[h.Snapshot]; said {
	case "", "gone":
		return said == "", nil
	default:
		return false, errors.New(said)
	}
}

// disks answer by id.
type disks map[string]snapshot.State

func (d disks) State(_ context.Context, id string) (snapshot.State, error) {
	state, ok := d[id]
	switch {
	case !ok:
		return state, fmt.Errorf("look at %q: %w", id, snapshot.ErrNotExist)
	case state.Failure == "denied":
		return snapshot.State{}, errors.New("UnauthorizedOperation")
	}
	return state, nil
}

func (disks) VolumeID(*corev1.PersistentVolume) (string, error) { return "", errors.ErrUnsupported }
func (disks) Disk(context.Context, string, string) (snapshot.Disk, error) {
	return snapshot.Disk{}, errors.ErrUnsupported
}
func (disks) Create(context.Context, snapshot.CreateRequest) (string, error) {
	return "", errors.ErrUnsupported
}
func (disks) Find(context.Context, snapshot.Owner) ([]string, error) {
	return nil, errors.ErrUnsupported
}
func (disks) Delete(context.Context, string) error { return errors.ErrUnsupported }
func (disks) CreateVolume(context.Context, snapshot.VolumeRequest) (string, error) {
	return "", errors.ErrUnsupported
}
func (disks) SetVolumeID(*corev1.PersistentVolume, string) error { return errors.ErrUnsupported }

func gzipped(text string) string {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return buffer.String()
}

// csiInfo and diskInfo are records of volumes whose snapshots have these ids.
func csiInfo(driver, handle string) string {
	return fmt.Sprintf(`{"pvName":"pv-%[2]s","pvcName":"%[2]s","pvcNamespace":"shop","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":%[1]q,"snapshotHandle":%[2]q}}`, driver, handle)
}

func diskRecords(location string, ids ...string) string {
	var all []string
	for _, id := range ids {
		all = append(all, fmt.Sprintf(`{"spec":{"location":%q,"persistentVolumeName":"pv-%s"},"status":{"providerSnapshotID":%q}}`, location, id, id))
	}
	return gzipped("[" + strings.Join(all, ",") + "]")
}

func config(t *testing.T, files map[string]string, d drivers, cloud disks) verify.Config {
	t.Helper()
	api := apitest.New(t)
	velero, kube, dynamic := api.Clients()
	api.Add("/apis/storage.k8s.io/v1/csidrivers", &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "dir"}})
	api.Add(veleroNamespace+"backupstoragelocations", &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider:      "aws",
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b", CACert: []byte("old")},
		},
	})
	api.Add(veleroNamespace+"volumesnapshotlocations", &velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: "aws"}})
	api.Add(veleroNamespace+"backups", &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: velerov1.BackupSpec{StorageLocation: "default"}})
	bucket := memstore.New(files)
	env := &run.Env{
		REST: api.Config, Client: velero, Kube: kube, Dynamic: dynamic, Namespace: "velero", Attempt: 1, LastAttempt: true, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return bucket, nil },
		OpenSnapshotter: func(context.Context, *velerov1.VolumeSnapshotLocation) (snapshot.Snapshotter, error) {
			return cloud, nil
		},
	}
	cfg := verify.Config{Env: env, Backup: "shop"}
	if d != nil {
		cfg.Drivers = d
	}
	return cfg
}

// shop is a backup with these side files.
func shop(files map[string]string) map[string]string {
	all := map[string]string{"backups/shop/velero-backup.json": marker, "backups/shop/shop-resource-list.json.gz": gzipped("{}")}
	for name, body := range files {
		all["backups/shop/shop-"+name+".json.gz"] = body
	}
	return all
}

// ask runs the Job and returns what it tells, by handle, and its end.
func ask(t *testing.T, cfg verify.Config) ([]string, report.VolumesEnd) {
	t.Helper()
	const token = "secret"
	hash := sha256.Sum256([]byte(token))
	cfg.TokenSHA256 = hex.EncodeToString(hash[:])
	var err error
	if cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+cfg.Listener.Addr().String()+verify.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	ended := make(chan report.Summary, 1)
	go func() {
		summary, err := verify.Run(t.Context(), cfg)
		if err != nil {
			t.Error(err)
		}
		ended <- summary
	}()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var told []string
	var end *report.VolumesEnd
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		var e report.VolumeEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || end != nil {
			t.Errorf("line %q: %v", lines.Text(), err)
		}
		if v := e.Volume; v != nil {
			told = append(told, strings.TrimSuffix(fmt.Sprintf("%s %s@%s: %s: %s", v.PVC+"/"+v.PV, v.Handle, v.Keeper, v.Status, v.Text), ": "))
		}
		end = e.End
	}
	if end == nil {
		t.Fatal("the answer is torn")
	}
	if summary := <-ended; summary.Outcome != report.Completed {
		t.Errorf("summary = %+v", summary)
	}
	slices.Sort(told)
	return told, *end
}

func TestEveryHandleIsAskedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files   map[string]string
		drivers drivers
		disks   disks
		want    []string
		end     report.VolumesEnd
	}{
		"nothing to ask for": {},
		"drivers": {
			files:   map[string]string{"volumeinfo": gzipped("[" + strings.Join([]string{csiInfo("dir", "a"), csiInfo("dir", "b"), csiInfo("dir", "c"), csiInfo("far", "d")}, ",") + "]")},
			drivers: drivers{"b": "gone", "c": "the driver doesn't answer"},
			want: []string{
				"shop/a/pv-a a@dir: ok", "shop/b/pv-b b@dir: missing: the driver doesn't have it", "shop/c/pv-c c@dir: unknown: the driver doesn't answer",
				`shop/d/pv-d d@far: unknown: driver "far" isn't in this cluster; hint: ask in a cluster that has it`,
			},
			end: report.VolumesEnd{Checked: 4, OK: 1, Missing: 1, Unknown: 2},
		},
		"no snapshot API": {
			files: map[string]string{"volumeinfo": gzipped("[" + csiInfo("dir", "a") + "]")},
			want:  []string{"shop/a/pv-a a@dir: unknown: this cluster doesn't serve the API snapshot.storage.k8s.io; hint: ask in a cluster that does"},
			end:   report.VolumesEnd{Checked: 1, Unknown: 1},
		},
		"clouds": {
			files: map[string]string{"volumesnapshots": diskRecords("aws", "a", "b", "c", "d", "e")},
			disks: disks{"a": {Ready: true}, "b": {Progress: 40}, "c": {Failure: "client error"}, "d": {Failure: "denied"}},
			want: []string{
				"/pv-a a@aws: ok", "/pv-b b@aws: ok: it is still being copied (40 %)", "/pv-c c@aws: failed: client error",
				"/pv-d d@aws: unknown: UnauthorizedOperation", "/pv-e e@aws: missing: the provider doesn't have it",
			},
			end: report.VolumesEnd{Checked: 5, OK: 2, Missing: 1, Failed: 1, Unknown: 1},
		},
		"a location that is gone": {
			files: map[string]string{"volumesnapshots": diskRecords("gcp", "a")},
			want:  []string{`/pv-a a@gcp: unknown: snapshot location "gcp" doesn't exist; hint: create it again`},
			end:   report.VolumesEnd{Checked: 1, Unknown: 1},
		},
		"what nobody can be asked for": {
			files: map[string]string{
				"volumeinfo":       gzipped(`[{"pvName":"pv-1","backupMethod":"CSISnapshot","result":"succeeded"},{"pvName":"pv-2","skipped":true},{"pvName":"pv-3","backupMethod":"CSISnapshot","result":"failed"}]`),
				"podvolumebackups": gzipped(`[{"status":{"snapshotID":"k1"}},{"status":{"snapshotID":"k2"}}]`),
			},
			want: []string{
				"/ @: unknown: this version can't look at data that was saved file by file (2 of the backup's volumes)",
				"/pv-1 @: failed: the handle of its CSI snapshot isn't recorded",
			},
			end: report.VolumesEnd{Checked: 2, Failed: 1, Unknown: 1},
		},
		"a list that is torn": {
			files: map[string]string{"volumeinfo": "torn"},
			end:   report.VolumesEnd{Reason: `storage location "default": look for volume data: open backups/shop/shop-volumeinfo.json.gz: unexpected EOF`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told, end := ask(t, config(t, shop(test.files), test.drivers, test.disks))
			if diff := cmp.Diff(test.want, told); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.end, end); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABackupThatIsNone(t *testing.T) {
	t.Parallel()
	_, end := ask(t, config(t, nil, nil, nil))
	if want := `backup "shop" was never completed, or is being deleted`; !strings.Contains(end.Reason, want) {
		t.Errorf("reason %q, want %q", end.Reason, want)
	}
	for name, edit := range map[string]func(*verify.Config){
		`backup "nobody" doesn't exist in namespace "velero"`: func(c *verify.Config) { c.Backup = "nobody" },
		`storage location "west" doesn't exist`:               func(c *verify.Config) { c.Location = "west" },
	} {
		cfg := config(t, nil, nil, nil)
		edit(&cfg)
		if summary, err := verify.Run(t.Context(), cfg); err != nil || summary.Outcome != report.Usage || !strings.HasPrefix(summary.Reason, name) {
			t.Errorf("%s: %+v, %v", name, summary, err)
		}
	}
}

// TestPrinted: without a token the results are a table.
func TestPrinted(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	cfg := config(t, shop(map[string]string{"volumesnapshots": diskRecords("aws", "a", "b")}), nil, disks{"a": {Ready: true}})
	cfg.Out, cfg.Location = &out, "default"
	summary, err := verify.Run(t.Context(), cfg)
	want := report.Summary{Outcome: report.Failed, Items: 2, Errors: 1, Reason: `backup "shop" is broken: the data of 1 of 2 volumes is missing or can't be used`}
	if diff := cmp.Diff(want, summary); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, line := range []string{"STATUS    VOLUME", "ok        pv-a", "missing   pv-b", "the provider doesn't have it"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %q in:\n%s", line, out.String())
		}
	}
}

// TestTrust opens the bucket as the user trusts it, not as its location says.
func TestTrust(t *testing.T) {
	t.Parallel()
	cfg := config(t, shop(nil), drivers{}, nil)
	open := cfg.OpenStore
	var opened *velerov1.BackupStorageLocation
	cfg.OpenStore = func(ctx context.Context, location *velerov1.BackupStorageLocation) (store.Bucket, error) {
		opened = location
		return open(ctx, location)
	}
	cfg.Trust = settings.Trust{CACert: []byte("pem")}
	if told, end := ask(t, cfg); end.Reason != "" || len(told) != 0 {
		t.Errorf("%q, %+v", told, end)
	}
	if got := string(opened.Spec.ObjectStorage.CACert); got != "pem" {
		t.Errorf("opened with certificate %q", got)
	}
}

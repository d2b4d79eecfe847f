package saved_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/saved"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const folder = "backups/vols-csi/"

// fixture is what Velero 1.18.0 wrote for a backup of two CSI volumes, without some
// of its objects.
func fixture(t *testing.T, without ...string) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/vols-csi/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	objects := map[string]string{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects[folder+filepath.Base(file)] = string(body)
	}
	for _, name := range without {
		delete(objects, folder+"vols-csi"+name)
	}
	return objects
}

func read(t *testing.T, objects map[string]string, backup string) (saved.Data, error) {
	t.Helper()
	return saved.Read(t.Context(), catalog.New(memstore.New(objects)), backup)
}

// snapshotsOf are the two of the fixture, as far as lists other than these tell.
func snapshotsOf(withVolumes bool) []saved.CSI {
	var all []saved.CSI
	for _, s := range []struct{ pv, pvc, id string }{
		{"pvc-17fa96d1-2438-442f-895f-242316c65000", "vols/data-records-0", "6dda99d9-ef84-4fde-908a-72e87fffc0aa"},
		{"pvc-f6611723-7fa0-4ba1-ac00-72e5df4e25b9", "vols/data-records-1", "fbed3769-ce98-4a5c-8f02-37003d05fcc8"},
	} {
		one := saved.CSI{Handle: csi.Handle{Driver: "probe.csi.example.com", Snapshot: "snapshot-" + s.id}, Content: "snapcontent-" + s.id}
		if withVolumes {
			one.Volume = saved.Volume{PV: s.pv, PVC: s.pvc}
		}
		all = append(all, one)
	}
	return all
}

func TestWhatVeleroWrote(t *testing.T) {
	t.Parallel()
	gone := func(s saved.CSI) saved.Lost {
		return saved.Lost{Why: `the archive is gone, which has the handle of VolumeSnapshotContent "` + s.Content + `"`}
	}
	for name, test := range map[string]struct {
		without []string
		want    saved.Data
	}{
		"all of it":             {want: saved.Data{CSI: snapshotsOf(true), Listed: true}},
		"without archive":       {without: []string{".tar.gz"}, want: saved.Data{CSI: snapshotsOf(true), Listed: true}},
		"before volumeinfo":     {without: []string{"-volumeinfo.json.gz"}, want: saved.Data{CSI: snapshotsOf(false), Listed: true}},
		"without resource list": {without: []string{"-volumeinfo.json.gz", "-resource-list.json.gz"}, want: saved.Data{CSI: snapshotsOf(false), Listed: true}},
		"no archive, and no other list of handles": {
			without: []string{".tar.gz", "-volumeinfo.json.gz"},
			want:    saved.Data{Listed: true, Lost: []saved.Lost{gone(snapshotsOf(false)[0]), gone(snapshotsOf(false)[1])}},
		},
		"only the marker": {
			without: []string{".tar.gz", "-volumeinfo.json.gz", "-resource-list.json.gz", "-volumesnapshots.json.gz", "-podvolumebackups.json.gz"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := read(t, fixture(t, test.without...), "vols-csi")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func gzipped(text string) string {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return buffer.String()
}

func TestSideFiles(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		want  saved.Data
	}{
		"nothing": {},
		"disks": {
			files: map[string]string{
				"volumeinfo": `[{"pvName":"pv-1","pvcName":"data","pvcNamespace":"shop","backupMethod":"NativeSnapshot","result":"succeeded","nativeSnapshotInfo":{"snapshotHandle":"snap-1"}},
					{"pvName":"pv-2","backupMethod":"NativeSnapshot","result":"failed","nativeSnapshotInfo":{"snapshotHandle":""}},{"pvName":"pv-3","skipped":true}]`,
				"volumesnapshots": `[{"spec":{"location":"aws","persistentVolumeName":"pv-1"},"status":{"providerSnapshotID":"snap-1","phase":"Completed"}},
					{"spec":{"location":"aws","persistentVolumeName":"pv-2"},"status":{"phase":"Failed"}}]`,
			},
			want: saved.Data{Native: []saved.Native{{Volume: saved.Volume{PV: "pv-1", PVC: "shop/data"}, Location: "aws", Snapshot: "snap-1"}}, Listed: true},
		},
		"files, as PodVolumeBackups and in the records of volumes": {
			files: map[string]string{
				"volumeinfo": `[{"pvName":"pv-1","backupMethod":"PodVolumeBackup","result":"succeeded","pvbInfo":{"snapshotHandle":"k1"}},
					{"pvName":"pv-2","backupMethod":"PodVolumeBackup","result":"failed","pvbInfo":{}},{"pvName":"pv-3","skipped":true,"skippedReason":"podvolume: not saved file by file;"}]`,
				"podvolumebackups": `[{"status":{"snapshotID":"k1"}},{"status":{"snapshotID":"k2"}},{"status":{}}]`,
			},
			want: saved.Data{Files: 2},
		},
		"moved": {
			files: map[string]string{"volumeinfo": `[{"pvName":"pv-1","backupMethod":"CSISnapshot","snapshotDataMoved":true,"result":"succeeded",
				"csiSnapshotInfo":{"snapshotHandle":"unknown","vscName":"unknown","driver":"d"},"snapshotDataMovementInfo":{"snapshotHandle":"k1"}}]`},
			want: saved.Data{Moved: 1},
		},
		"a group, of which only the records of volumes tell": {
			files: map[string]string{"volumeinfo": `[{"pvName":"pv-1","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"snapshotHandle":"h2","driver":"d","volumeGroupSnapshotHandle":"g"}},
				{"pvName":"pv-2","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"snapshotHandle":"h1","driver":"d","volumeGroupSnapshotHandle":"g"}}]`},
			want: saved.Data{CSI: []saved.CSI{
				{Volume: saved.Volume{PV: "pv-2"}, Handle: csi.Handle{Driver: "d", Snapshot: "h1", Group: "g", GroupMembers: []string{"h1", "h2"}}},
				{Volume: saved.Volume{PV: "pv-1"}, Handle: csi.Handle{Driver: "d", Snapshot: "h2", Group: "g", GroupMembers: []string{"h1", "h2"}}},
			}},
		},
		"handles that nobody knows": {
			files: map[string]string{"volumeinfo": `[{"pvName":"pv-1","pvcName":"data","pvcNamespace":"shop","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"vscName":"c","driver":"d"}},
				{"pvName":"pv-2","backupMethod":"NativeSnapshot","result":"succeeded","nativeSnapshotInfo":{"snapshotHandle":"snap-2"}},
				{"pvName":"pv-3","backupMethod":"CSISnapshot","result":"failed","csiSnapshotInfo":{"driver":"d"}}]`},
			want: saved.Data{Lost: []saved.Lost{
				{Volume: saved.Volume{PV: "pv-1", PVC: "shop/data"}, Why: "the handle of its CSI snapshot isn't recorded"},
				{Volume: saved.Volume{PV: "pv-2"}, Why: "the list of disk snapshots has none of it"},
			}},
		},
		"the contents that Velero 1.4 wrote beside the archive": {
			files: map[string]string{"csi-volumesnapshotcontents": `[{"metadata":{"name":"c1","annotations":{"snapshot.storage.kubernetes.io/deletion-secret-name":"s","snapshot.storage.kubernetes.io/deletion-secret-namespace":"storage"}},
				"spec":{"driver":"d"},"status":{"snapshotHandle":"h1"}},{"metadata":{"name":"c2"},"spec":{"driver":"d"}}]`},
			want: saved.Data{CSI: []saved.CSI{{Handle: csi.Handle{Driver: "d", Snapshot: "h1", SecretName: "s", SecretNamespace: "storage"}, Content: "c1"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := map[string]string{}
			for file, text := range test.files {
				objects["backups/shop/shop-"+file+".json.gz"] = gzipped(text)
			}
			got, err := read(t, objects, "shop")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestIndexedArchive: an archive of ours is read in the part that matters, and only
// what is labelled as the backup's counts.
func TestIndexedArchive(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	w, err := archive.NewWriter(&body, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	put := func(resource schema.GroupResource, namespace, name, object string) {
		t.Helper()
		kind, err := w.Kind(resource, "v1", true)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(kind.Write(namespace, name, []byte(object)), kind.Close()); err != nil {
			t.Fatal(err)
		}
	}
	contents := schema.GroupResource{Group: "snapshot.storage.k8s.io", Resource: "volumesnapshotcontents"}
	put(schema.GroupResource{Resource: "pods"}, "shop", "web", `{"apiVersion":"v1","kind":"Pod"}`)
	for name, backup := range map[string]string{"ours": "shop", "restored": "other"} {
		put(contents, "", name, `{"apiVersion":"snapshot.storage.k8s.io/v1","kind":"VolumeSnapshotContent","metadata":{"name":"`+name+`",`+
			`"labels":{"velero.io/backup-name":"`+backup+`"}},"spec":{"driver":"d"},"status":{"snapshotHandle":"handle of `+name+`"}}`)
	}
	index, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]string{"backups/shop/shop.tar.gz": body.String(), "backups/shop/shop-index.json.gz": gzipped(string(encoded))}
	got, err := read(t, objects, "shop")
	if err != nil {
		t.Fatal(err)
	}
	want := saved.Data{CSI: []saved.CSI{{Handle: csi.Handle{Driver: "d", Snapshot: "handle of ours"}, Content: "ours"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatCanNotBeReadIsAnError(t *testing.T) {
	t.Parallel()
	objects := fixture(t)
	objects[folder+"vols-csi-volumeinfo.json.gz"] = "torn"
	got, err := read(t, objects, "vols-csi")
	if err == nil || !strings.Contains(err.Error(), "vols-csi-volumeinfo.json.gz") {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff(snapshotsOf(false), got.CSI); diff != "" {
		t.Errorf("what the other lists tell (-want +got):\n%s", diff)
	}
	objects = fixture(t)
	objects[folder+"vols-csi.tar.gz"] = objects[folder+"vols-csi.tar.gz"][:4000]
	if _, err := read(t, objects, "vols-csi"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut archive: %v", err)
	}
	bucket := memstore.New(fixture(t))
	bucket.Fault(func(string, string) error { return store.ErrUnavailable })
	if _, err := saved.Read(t.Context(), catalog.New(bucket), "vols-csi"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("no bucket: %v", err)
	}
}

package catalog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// fixture is a backup that Velero 1.18.0 wrote.
const fixture = "../../testdata/fixtures/velero-1.18.0/shop/"

func fixtureFile(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(fixture + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func backup(name string) *velerov1.Backup {
	b := &velerov1.Backup{}
	b.Name, b.Namespace, b.UID = name, "velero", "uid-1"
	b.Status.Phase = velerov1.BackupPhaseCompleted
	return b
}

func marker(name, uid string) string {
	return fmt.Sprintf(`{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":%q,"uid":%q},"status":{"phase":"Completed"},"later":true}`, name, uid)
}

func TestFileKeys(t *testing.T) {
	t.Parallel()
	for file, want := range map[catalog.File]string{
		catalog.BackupFile("b", catalog.Logs):                   "backups/b/b-logs.gz",
		catalog.BackupFile("b", catalog.PodVolumeBackups):       "backups/b/b-podvolumebackups.json.gz",
		catalog.BackupFile("b", catalog.VolumeSnapshots):        "backups/b/b-volumesnapshots.json.gz",
		catalog.BackupFile("b", catalog.ResourceList):           "backups/b/b-resource-list.json.gz",
		catalog.BackupFile("b", catalog.Results):                "backups/b/b-results.gz",
		catalog.BackupFile("b", catalog.ItemOperations):         "backups/b/b-itemoperations.json.gz",
		catalog.BackupFile("b", catalog.VolumeInfo):             "backups/b/b-volumeinfo.json.gz",
		catalog.RestoreFile("r", catalog.RestoreLogs):           "restores/r/restore-r-logs.gz",
		catalog.RestoreFile("r", catalog.RestoreResults):        "restores/r/restore-r-results.gz",
		catalog.RestoreFile("r", catalog.RestoreResourceList):   "restores/r/restore-r-resource-list.json.gz",
		catalog.RestoreFile("r", catalog.RestoreItemOperations): "restores/r/restore-r-itemoperations.json.gz",
		catalog.RestoreFile("r", catalog.RestoreVolumeInfo):     "restores/r/r-volumeinfo.json.gz",
	} {
		if got := file.Key(); got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
}

func TestNamesStayInTheirFolder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "../x", "a/b", "a/../b", "A", "a_b", "a b", "-a", "a\x00", strings.Repeat("a", 254)} {
		m := newMemory(nil)
		c := catalog.New(m)
		var v any
		_, existsErr := c.Exists(t.Context(), name)
		_, readErr := c.ReadBackup(t.Context(), name)
		_, claimErr := c.ReadClaim(t.Context(), name)
		_, archiveErr := c.OpenArchive(t.Context(), name)
		_, openErr := c.Open(t.Context(), catalog.BackupFile(name, catalog.Logs))
		for i, err := range []error{
			existsErr, readErr, claimErr, archiveErr, openErr,
			c.Claim(t.Context(), name, catalog.Claim{BackupUID: "u"}),
			c.PutArchive(t.Context(), name, strings.NewReader("")),
			c.Commit(t.Context(), backup(name)),
			c.DeleteBackup(t.Context(), name),
			c.DeleteRestore(t.Context(), name),
			c.PutJSON(t.Context(), catalog.BackupFile(name, catalog.Results), 1),
			c.WriteGzip(t.Context(), catalog.RestoreFile(name, catalog.RestoreLogs), func(io.Writer) error { return nil }),
			c.GetJSON(t.Context(), catalog.RestoreFile(name, catalog.RestoreResults), &v),
		} {
			if err == nil {
				t.Errorf("name %q, call %d: no error", name, i)
			}
		}
		if len(m.changes) > 0 {
			t.Errorf("name %q: %q", name, m.changes)
		}
	}
}

func TestReadsWhatVeleroWrote(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	for _, name := range []string{"velero-backup.json", "shop-results.gz", "shop-podvolumebackups.json.gz", "shop-resource-list.json.gz", "shop-logs.gz", "shop.tar.gz"} {
		m.objects["backups/shop/"+name] = []byte(fixtureFile(t, name))
	}
	c := catalog.New(m)
	names, err := c.Backups(t.Context())
	if diff := cmp.Diff([]string{"shop"}, names); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	b, err := c.ReadBackup(t.Context(), "shop")
	if err != nil || b.Status.Phase != velerov1.BackupPhaseCompleted && b.Status.Phase != velerov1.BackupPhasePartiallyFailed || b.Status.FormatVersion != "1.1.0" {
		t.Errorf("%+v, %v", b.Status, err)
	}
	resources := map[string][]string{}
	if err := c.GetJSON(t.Context(), catalog.BackupFile("shop", catalog.ResourceList), &resources); err != nil || len(resources["v1/Pod"]) == 0 {
		t.Errorf("%d kinds, %v", len(resources), err)
	}
	var null []velerov1.PodVolumeBackup
	if err := c.GetJSON(t.Context(), catalog.BackupFile("shop", catalog.PodVolumeBackups), &null); err != nil || len(null) > 0 {
		t.Errorf("%v, %v", null, err)
	}
	log, err := c.Open(t.Context(), catalog.BackupFile("shop", catalog.Logs))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err := errors.Join(err, log.Close()); err != nil || !bytes.Contains(text, []byte("level=info")) {
		t.Errorf("%d bytes of log, %v", len(text), err)
	}
	if err := c.GetJSON(t.Context(), catalog.BackupFile("shop", catalog.VolumeInfo), &null); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// TestWritesAsVeleroDoes decodes and writes again what Velero wrote.
func TestWritesAsVeleroDoes(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	c := catalog.New(m)
	for name, kind := range map[string]catalog.BackupFileKind{
		"shop-results.gz":               catalog.Results,
		"shop-podvolumebackups.json.gz": catalog.PodVolumeBackups,
		"shop-volumesnapshots.json.gz":  catalog.VolumeSnapshots,
		"shop-itemoperations.json.gz":   catalog.ItemOperations,
		"shop-resource-list.json.gz":    catalog.ResourceList,
	} {
		want := gunzip(t, fixtureFile(t, name))
		var v any
		if err := json.Unmarshal(want, &v); err != nil {
			t.Fatal(err)
		}
		file := catalog.BackupFile("shop", kind)
		if err := c.PutJSON(t.Context(), file, v); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(gunzip(t, string(m.objects[file.Key()])))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	file := catalog.RestoreFile("r", catalog.RestoreResults)
	if err := c.PutJSON(t.Context(), file, map[string]string{"k": "<a&b>"}); err != nil {
		t.Fatal(err)
	}
	if got, want := string(gunzip(t, string(m.objects[file.Key()]))), `{"k":"\u003ca\u0026b\u003e"}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// gunzip also sees that there is one gzip member.
func gunzip(t *testing.T, body string) []byte {
	t.Helper()
	rest := strings.NewReader(body)
	r, err := gzip.NewReader(rest)
	if err != nil {
		t.Fatal(err)
	}
	r.Multistream(false)
	plain, err := io.ReadAll(r)
	if err != nil || rest.Len() > 0 {
		t.Fatalf("%d bytes after the gzip member, %v", rest.Len(), err)
	}
	return plain
}

func TestMarkerHasVelerosForm(t *testing.T) {
	t.Parallel()
	var b velerov1.Backup
	want := fixtureFile(t, "velero-backup.json")
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	m := newMemory(nil)
	b.Kind, b.APIVersion = "", "" // as typed clients leave them
	if err := catalog.New(m).Commit(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	got := string(m.objects["backups/shop/velero-backup.json"])
	if diff := cmp.Diff(firstLines(want), firstLines(got)); diff != "" {
		t.Error(diff)
	}
	var wantAny, gotAny map[string]any
	if err := errors.Join(json.Unmarshal([]byte(want), &wantAny), json.Unmarshal([]byte(got), &gotAny)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantAny["status"], gotAny["status"]); diff != "" {
		t.Errorf("status: %s", diff)
	}
}

func firstLines(s string) []string { return strings.SplitN(s, "\n", 9)[:8] }

func TestCommitOnce(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost answer")
	m := newMemory(nil)
	c := catalog.New(m)
	m.fail = func(string) error { return lost }
	b := backup("b")
	if err := c.Commit(t.Context(), b); !errors.Is(err, lost) {
		t.Errorf("lost answer: %v", err)
	}
	m.fail = nil
	if err := c.Commit(t.Context(), b); err != nil {
		t.Errorf("the same again: %v", err)
	}
	b.Status.Phase = velerov1.BackupPhasePartiallyFailed
	var committed *catalog.AlreadyCommittedError
	if err := c.Commit(t.Context(), b); !errors.As(err, &committed) || committed.Marker.Status.Phase != velerov1.BackupPhaseCompleted {
		t.Errorf("another end of the same: %v", err)
	}
	b.UID = "uid-2"
	var taken *catalog.TakenError
	if err := c.Commit(t.Context(), b); !errors.As(err, &taken) || !taken.Committed {
		t.Errorf("another backup: %v", err)
	}
}

func TestBackupsAreThoseWithAMarker(t *testing.T) {
	t.Parallel()
	m := newMemory(map[string]string{
		"backups/half/half-claim.json":          "{}",
		"backups/whole/velero-backup.json":      "{}",
		"backups/Not_A_Name/velero-backup.json": "{}",
		"backups/stray":                         "",
		"restores/r/r-volumeinfo.json.gz":       "",
	})
	for i := range 40 {
		m.objects[fmt.Sprintf("backups/m%02d/velero-backup.json", i)] = nil
	}
	names, err := catalog.New(m).Backups(t.Context())
	if err != nil || len(names) != 41 || names[0] != "m00" || names[40] != "whole" {
		t.Errorf("%q, %v", names, err)
	}
}

func TestReadBackupRefuses(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"torn":      `{"kind":"Ba`,
		"not one":   `{"kind":"Restore","metadata":{"name":"b"}}`,
		"elsewhere": marker("c", "u"),
	} {
		c := catalog.New(newMemory(map[string]string{"backups/b/velero-backup.json": body}))
		if _, err := c.ReadBackup(t.Context(), "b"); err == nil || !strings.HasPrefix(err.Error(), `read backup "b": `) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	ours := catalog.Claim{ClusterID: "c1", BackupUID: "u1", Attempt: 2, Created: metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
	claimOf := func(uid string) string {
		return fmt.Sprintf(`{"clusterID":"c2","backupUID":%q,"attempt":1,"created":"2026-01-01T00:00:00Z"}`, uid)
	}
	for _, test := range []struct {
		name          string
		objects       map[string]string
		wantError     string
		wantCommitted bool // AlreadyCommittedError
		wantChanges   []string
	}{
		{name: "free", wantChanges: []string{"create backups/b/b-claim.json"}},
		{name: "ours", objects: map[string]string{"backups/b/b-claim.json": claimOf("u1")},
			wantChanges: []string{"abort backups/b/", "abort backups/b/b.tar.gz"}},
		{name: "another's", objects: map[string]string{"backups/b/b-claim.json": claimOf("u2")},
			wantError: `the name "b" is used there by a backup that is not complete (claimed 2026-01-01 00:00:00 UTC); hint: choose another name, or delete that backup first`},
		{name: "another's, committed", objects: map[string]string{"backups/b/b-claim.json": claimOf("u2"), "backups/b/velero-backup.json": marker("b", "u2")},
			wantError: `backup "b" already exists there; hint: choose another name, or delete that backup first`},
		{name: "Velero's", objects: map[string]string{"backups/b/velero-backup.json": marker("b", "u2")},
			wantError: `backup "b" already exists there; hint: choose another name, or delete that backup first`},
		{name: "ours, committed", objects: map[string]string{"backups/b/b-claim.json": claimOf("u1"), "backups/b/velero-backup.json": marker("b", "u1")},
			wantError: `backup "b" was committed by an earlier attempt`, wantCommitted: true},
		{name: "broken claim", objects: map[string]string{"backups/b/b-claim.json": "{"},
			wantError: `decode the claim of backup "b": unexpected end of JSON input`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(test.objects)
			err := catalog.New(m).Claim(t.Context(), "b", ours)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.wantError, got); diff != "" {
				t.Error(diff)
			}
			var committed *catalog.AlreadyCommittedError
			if errors.As(err, &committed) != test.wantCommitted {
				t.Errorf("%T", err)
			}
			if diff := cmp.Diff(test.wantChanges, m.changes); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("read back", func(t *testing.T) {
		t.Parallel()
		c := catalog.New(newMemory(nil))
		if err := c.Claim(t.Context(), "b", ours); err != nil {
			t.Fatal(err)
		}
		got, err := c.ReadClaim(t.Context(), "b")
		if diff := cmp.Diff(ours, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
	t.Run("without a Backup", func(t *testing.T) {
		t.Parallel()
		if err := catalog.New(newMemory(nil)).Claim(t.Context(), "b", catalog.Claim{}); err == nil {
			t.Error("no error")
		}
	})
}

func TestTakeOverNeedsNoRightToListUploads(t *testing.T) {
	t.Parallel()
	m := newMemory(map[string]string{"backups/b/b-claim.json": `{"backupUID":"u1"}`})
	for _, test := range []struct{ abort, want error }{{store.ErrDenied, nil}, {store.ErrUnavailable, store.ErrUnavailable}} {
		m.fail = func(string) error { return test.abort }
		if err := catalog.New(m).Claim(t.Context(), "b", catalog.Claim{BackupUID: "u1"}); !errors.Is(err, test.want) {
			t.Errorf("%v", err)
		}
	}
}

func TestDeleteBackupOrder(t *testing.T) {
	t.Parallel()
	objects := map[string]string{
		"backups/b/b-claim.json": "", "backups/b/b.tar.gz": "", "backups/b/velero-backup.json": "", "backups/b/zz": "",
		"backups/b2/velero-backup.json": "", "restores/b/r": "",
	}
	m := newMemory(objects)
	if err := catalog.New(m).DeleteBackup(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"delete backups/b/velero-backup.json", "abort backups/b/", "abort backups/b/b.tar.gz",
		"delete backups/b/b.tar.gz", "delete backups/b/zz", "delete backups/b/b-claim.json",
	}
	if diff := cmp.Diff(want, m.changes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"backups/b2/velero-backup.json", "restores/b/r"}, m.keys()); diff != "" {
		t.Error(diff)
	}
	// Wherever it stops, the backup is no longer listed, its name is taken
	// until all is gone, and doing it again ends it.
	for _, at := range want {
		m := newMemory(objects)
		broken := errors.New("broken")
		m.fail = func(change string) error {
			if change == at && !strings.HasPrefix(at, "abort") {
				return broken
			}
			return nil
		}
		c := catalog.New(m)
		err := c.DeleteBackup(t.Context(), "b")
		if errors.Is(err, broken) == strings.HasPrefix(at, "abort") {
			t.Errorf("stopped at %q: %v", at, err)
		}
		if exists, err := c.Exists(t.Context(), "b"); err != nil || exists != (at == want[0]) {
			t.Errorf("stopped at %q: exists %v, %v", at, exists, err)
		}
		m.fail = nil
		if err := c.DeleteBackup(t.Context(), "b"); err != nil || len(m.keys()) != 2 {
			t.Errorf("after %q: %q, %v", at, m.keys(), err)
		}
	}
}

func TestDeleteRestore(t *testing.T) {
	t.Parallel()
	m := newMemory(map[string]string{"restores/r/restore-r-logs.gz": "", "restores/r/x/y": "", "restores/r2/x": "", "backups/r/x": ""})
	c := catalog.New(m)
	for range 2 {
		if err := c.DeleteRestore(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"backups/r/x", "restores/r2/x"}, m.keys()); diff != "" {
		t.Error(diff)
	}
}

func TestOpenTellsTornFiles(t *testing.T) {
	t.Parallel()
	whole := fixtureFile(t, "shop-resource-list.json.gz")
	for name, body := range map[string]string{"empty": "", "no gzip": "plain text, not gzip", "cut": whole[:len(whole)/2], "whole": whole} {
		file := catalog.BackupFile("shop", catalog.ResourceList)
		c := catalog.New(newMemory(map[string]string{file.Key(): body}))
		v := map[string][]string{}
		err := c.GetJSON(t.Context(), file, &v)
		if (err == nil) != (body == whole) || errors.Is(err, store.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

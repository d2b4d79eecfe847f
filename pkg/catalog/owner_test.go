package catalog_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func TestOwner(t *testing.T) {
	t.Parallel()
	const (
		claimKey  = "backups/b/b-claim.json"
		markerKey = "backups/b/velero-backup.json"
		named     = `{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":"b","annotations":{"kubectl-velero.io/cluster-id":"c1"}}}`
	)
	for name, test := range map[string]struct {
		objects map[string]string
		want    string
		err     string
		missing bool
	}{
		"the marker says it":       {objects: map[string]string{markerKey: named, claimKey: `{"clusterID":"c2"}`}, want: "c1"},
		"an older marker doesn't":  {objects: map[string]string{markerKey: marker("b", "u"), claimKey: `{"clusterID":"c2"}`}, want: "c2"},
		"only a claim":             {objects: map[string]string{claimKey: `{"clusterID":"c2"}`}, want: "c2"},
		"a Velero server's":        {objects: map[string]string{markerKey: marker("b", "u")}},
		"nothing":                  {objects: map[string]string{"backups/b/b-logs.gz": ""}, missing: true, err: `read backup "b": `},
		"a torn marker":            {objects: map[string]string{markerKey: "{", claimKey: `{"clusterID":"c2"}`}, err: `read backup "b": decode`},
		"a torn claim":             {objects: map[string]string{claimKey: "{"}, err: `decode the claim of backup "b": `},
		"a claim without its name": {objects: map[string]string{markerKey: marker("b", "u"), claimKey: `{}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := catalog.New(newMemory(test.objects)).Owner(t.Context(), "b")
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("%q, %v", got, err)
			}
			if errors.Is(err, store.ErrNotExist) != test.missing {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWhoseBackupsCountAsOwn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		adopted string
		cluster string
		want    string
	}{
		"its own":           {cluster: "c1", want: "c1"},
		"adopted":           {adopted: "c2, c3", cluster: "c1", want: "c1 c2 c3"},
		"unknown":           {adopted: "unknown", cluster: "c1", want: " c1 unknown"},
		"nobody knows":      {},
		"nobody knows this": {adopted: "c2", want: "c2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			location := &velerov1.BackupStorageLocation{}
			location.Annotations = map[string]string{velerov1.AdoptedClustersAnnotation: test.adopted}
			ours := catalog.OursIn(location, test.cluster)
			var has []string
			for _, id := range []string{"", "c1", "c2", "c3", "unknown"} {
				if ours.Has(id) {
					has = append(has, id)
				}
			}
			if diff := cmp.Diff(test.want, strings.Join(has, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNamesAndForeignFolders(t *testing.T) {
	t.Parallel()
	c := catalog.New(newMemory(map[string]string{
		"backups/whole/velero-backup.json": "", "backups/torn/torn-claim.json": "", "backups/Not A Name/x": "", "backups/loose": "",
		"restores/r/x": "", "kopia/shop/x": "", "metadata/revision": "", "plugins/x": "", "restic/x/y": "", "photos/x": "", "b/x": "", "loose": "",
	}))
	names, err := c.Names(t.Context())
	if diff := cmp.Diff([]string{"torn", "whole"}, names); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	foreign, err := c.ForeignFolders(t.Context())
	if diff := cmp.Diff([]string{"b", "photos"}, foreign); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestANameThatIsUsedUp(t *testing.T) {
	t.Parallel()
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for what, do := range map[string]func(*catalog.Catalog) error{
		"create backups/b/b-claim.json": func(c *catalog.Catalog) error {
			return c.Claim(t.Context(), "b", catalog.Claim{BackupUID: "u"})
		},
		"put backups/b/b.tar.gz": func(c *catalog.Catalog) error {
			return c.PutArchive(t.Context(), "b", strings.NewReader(""))
		},
		"put backups/b/b-results.gz": func(c *catalog.Catalog) error {
			return c.PutJSON(t.Context(), catalog.BackupFile("b", catalog.Results), 1)
		},
		"put backups/b/b-checksums.json": func(c *catalog.Catalog) error {
			_, err := c.PutChecksums(t.Context(), "b")
			return err
		},
		"create backups/b/velero-backup.json": func(c *catalog.Catalog) error { return c.Commit(t.Context(), backup("b")) },
		"put restores/b/restore-b-results.gz": func(c *catalog.Catalog) error {
			return c.PutJSON(t.Context(), catalog.RestoreFile("b", catalog.RestoreResults), 1)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := newMemory(nil)
			m.fail = func(change string) error {
				if change != what {
					return nil
				}
				return &store.LockedError{Key: "k", Until: until}
			}
			err := do(catalog.New(m))
			var used *catalog.UsedUpError
			if !errors.As(err, &used) || used.Name != "b" || !errors.Is(err, store.ErrLocked) || store.Temporary(err) {
				t.Fatalf("%v", err)
			}
			const want = `name used up: object "k" is locked until 2030-01-02 03:04:05 UTC; hint: start it anew under another name than "b", since what is there can't be replaced`
			if !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestALockedBackupStaysWhole(t *testing.T) {
	t.Parallel()
	m := newMemory(map[string]string{"backups/b/b-claim.json": "", "backups/b/b.tar.gz": "", "backups/b/velero-backup.json": ""})
	m.fail = func(change string) error {
		if change == "delete backups/b/velero-backup.json" {
			return &store.LockedError{Key: "backups/b/velero-backup.json", Hold: true}
		}
		return nil
	}
	err := catalog.New(m).DeleteBackup(t.Context(), "b")
	if !errors.Is(err, store.ErrLocked) || len(m.keys()) != 3 {
		t.Errorf("%v, left %q", err, m.keys())
	}
}

// lockable is a bucket that tells of locks.
type lockable struct {
	*memory
	locked string
}

func (b lockable) CheckLocks(_ context.Context, keys ...string) error {
	if slices.Contains(keys, b.locked) {
		return &store.LockedError{Key: b.locked, Hold: true}
	}
	return nil
}

func TestABackupWithOneLockedFileStaysWhole(t *testing.T) {
	t.Parallel()
	m := newMemory(map[string]string{"backups/b/b-claim.json": "", "backups/b/b.tar.gz": "", "backups/b/velero-backup.json": ""})
	err := catalog.New(lockable{m, "backups/b/b.tar.gz"}).DeleteBackup(t.Context(), "b")
	if !errors.Is(err, store.ErrLocked) || len(m.keys()) != 3 {
		t.Errorf("%v, left %q", err, m.keys())
	}
	if err := catalog.New(lockable{m, "backups/other/k"}).DeleteBackup(t.Context(), "b"); err != nil || len(m.keys()) != 0 {
		t.Errorf("%v, left %q", err, m.keys())
	}
}

//go:build integration

package catalog_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestLifeOfABackup goes from the claim to the deletion on a real server.
func TestLifeOfABackup(t *testing.T) {
	t.Parallel()
	location := testenv.S3(t)
	location.Prefix = "cluster/one"
	bucket, err := store.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(bucket)
	b := backup("b")
	claim := catalog.Claim{ClusterID: "c1", BackupUID: string(b.UID), Attempt: 1}
	if err := c.Claim(t.Context(), b.Name, claim); err != nil {
		t.Fatal(err)
	}
	interrupted, cancel := context.WithCancel(t.Context())
	archive := io.LimitReader(rand.NewChaCha8([32]byte{}), 40<<20)
	stop := readerFunc(func([]byte) (int, error) { cancel(); return 0, interrupted.Err() })
	if err := c.PutArchive(interrupted, b.Name, io.MultiReader(archive, stop)); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}

	// The second attempt.
	if err := c.Claim(t.Context(), b.Name, claim); err != nil {
		t.Fatal(err)
	}
	if err := c.PutArchive(t.Context(), b.Name, strings.NewReader("archive")); err != nil {
		t.Fatal(err)
	}
	if err := c.PutJSON(t.Context(), catalog.BackupFile(b.Name, catalog.ItemOperations), []any{}); err != nil {
		t.Fatal(err)
	}
	checkBackups(t, c)
	if err := c.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	checkBackups(t, c, "b")

	// Another one can't have the name, this one is told.
	var taken *catalog.TakenError
	if err := c.Claim(t.Context(), b.Name, catalog.Claim{BackupUID: "another"}); !errors.As(err, &taken) || !taken.Committed || taken.By.ClusterID != "c1" {
		t.Errorf("another: %v", err)
	}
	var committed *catalog.AlreadyCommittedError
	if err := c.Claim(t.Context(), b.Name, claim); !errors.As(err, &committed) {
		t.Errorf("again: %v", err)
	}

	if err := c.DeleteBackup(t.Context(), b.Name); err != nil {
		t.Fatal(err)
	}
	checkBackups(t, c)
	for o, err := range bucket.List(t.Context(), "") {
		t.Errorf("left: %+v, %v", o, err)
	}
	names, err := bucket.Prefixes(t.Context(), "backups")
	if err != nil || len(names) > 0 {
		t.Errorf("folders left: %q, %v", names, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func checkBackups(t *testing.T, c *catalog.Catalog, want ...string) {
	t.Helper()
	got, err := c.Backups(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("backups: %v %s", err, diff)
	}
}

func TestNoBucketIsTold(t *testing.T) {
	t.Parallel()
	location := testenv.S3(t)
	location.Bucket = "nowhere"
	bucket, err := store.Open(t.Context(), location)
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(bucket)
	if err := c.Claim(t.Context(), "b", catalog.Claim{BackupUID: "u"}); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("claim: %v", err)
	}
	if _, err := c.Backups(t.Context()); !errors.Is(err, store.ErrNoBucket) {
		t.Errorf("list: %v", err)
	}
}

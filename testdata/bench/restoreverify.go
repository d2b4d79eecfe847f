package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// expected is what has to be true after a restore.
type expected struct {
	*archived
	// creator is the restore whose label the objects have.
	creator string
	// found is how many objects were there before, and had to be left alone.
	found int
}

// verify looks whether a restore is what it says and the cluster holds what the
// archive does, and removes what is left of the restore.
func (b *restoreBench) verify(ctx context.Context, name string, e expected) error {
	restore, err := b.velero.Restores(velerov1.DefaultNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if s := restore.Status; s.Phase != velerov1.RestorePhaseCompleted || s.Errors+s.Warnings > 0 || s.Progress == nil {
		return fmt.Errorf("restore %q is %s with %d errors and %d warnings: %s", name, s.Phase, s.Errors, s.Warnings, s.FailureReason)
	}
	if said := restore.Status.Progress.ItemsRestored; said != len(e.sums) {
		return fmt.Errorf("restore %q says %d items, the archive holds %d", name, said, len(e.sums))
	}
	if err := b.checkActions(ctx, name, len(e.sums)-e.found, e.found); err != nil {
		return fmt.Errorf("resource list of %q: %w", name, err)
	}
	live, err := b.live(ctx, e.creator)
	if err != nil {
		return fmt.Errorf("restore %q: %w", name, err)
	}
	if err := e.sums.compare(live); err != nil {
		return fmt.Errorf("restore %q: %w", name, err)
	}
	return b.removeRestore(ctx, name)
}

// checkActions compares what a restore says of each object with what it had to
// do: create those that weren't there, leave the others as they are.
func (b *restoreBench) checkActions(ctx context.Context, name string, created, skipped int) error {
	body, err := b.bucket.Get(ctx, restoreFolder(name)+"restore-"+name+"-resource-list.json.gz")
	if err != nil {
		return err
	}
	defer body.Close()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	var list map[string][]string
	if err := json.NewDecoder(plain).Decode(&list); err != nil {
		return err
	}
	counts, entries := map[string]int{}, 0
	for _, names := range list {
		entries += len(names)
		for _, entry := range names {
			counts[entry[strings.LastIndexByte(entry, '(')+1:]]++
		}
	}
	if sum := counts["created)"] + counts["skipped)"]; counts["created)"] != created || counts["skipped)"] != skipped || sum != entries {
		return fmt.Errorf("it says %v, not %d created and %d skipped", counts, created, skipped)
	}
	return nil
}

// removeRestore deletes a restore and its files, so that all measure the same.
func (b *restoreBench) removeRestore(ctx context.Context, name string) error {
	var keys []string
	for file, err := range b.bucket.List(ctx, restoreFolder(name)) {
		if err != nil {
			return err
		}
		keys = append(keys, file.Key)
	}
	if err := b.bucket.Delete(ctx, keys...); err != nil {
		return err
	}
	return b.velero.Restores(velerov1.DefaultNamespace).Delete(ctx, name, metav1.DeleteOptions{})
}

func restoreFolder(name string) string { return "restores/" + name + "/" }

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

const (
	// startRounds is how often the shortest backup is measured.
	startRounds = 3
	// settle is how long the cluster is left alone before something is measured.
	// The API server lets a list wait until its cache has caught up with the last
	// write, of whatever kind, which takes up to 100 ms; what the bench itself
	// writes must not count.
	settle = 500 * time.Millisecond
)

// measure takes turns between floor and backup. The first backup is counted
// instead, and warms everything up.
func (b *bed) measure(ctx context.Context) (*result, error) {
	e, err := b.expect(ctx)
	if err != nil {
		return nil, err
	}
	progress("count requests")
	counted, found, err := b.count(ctx, e)
	if err != nil {
		return nil, err
	}
	r := &result{set: b.set, requests: counted, contents: *found}
	task := floorTask{Kubeconfig: b.kubeconfig, Paths: counted.paths(), Compressed: counted.compressed}
	for n := range b.set.rounds {
		if err := b.round(ctx, r, task, e); err != nil {
			return nil, fmt.Errorf("round %d: %w", n+1, err)
		}
		progress("round %d of %d: floor %.3f s, ours %.3f s", n+1, b.set.rounds, last(r.floor).Seconds, last(r.ours).Seconds)
	}
	for range startRounds {
		t, err := b.shortest(ctx)
		if err != nil {
			return nil, fmt.Errorf("shortest backup: %w", err)
		}
		r.shortest = append(r.shortest, *t)
	}
	if b.profile != "" {
		if err := b.profiled(ctx, e); err != nil {
			return nil, fmt.Errorf("profile: %w", err)
		}
	}
	return r, nil
}

// round measures the floor and a backup, one after the other.
func (b *bed) round(ctx context.Context, r *result, task floorTask, e *expectation) error {
	input, err := json.Marshal(task)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	time.Sleep(settle)
	floor, err := b.run(ctx, input, self, floorCommand)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(floor.output, &r.floorResult); err != nil {
		return fmt.Errorf("read what the floor says: %w", err)
	}
	backup := b.newBackup(strconv.Itoa(len(r.ours)))
	ours, err := b.execute(ctx, backup, b.kubeconfig)
	if err != nil {
		return err
	}
	if _, err := b.verify(ctx, backup.Name, e); err != nil {
		return err
	}
	r.floor, r.ours = append(r.floor, *floor), append(r.ours, *ours)
	return nil
}

// shortest backs up one kind in one namespace: what a backup takes at least.
func (b *bed) shortest(ctx context.Context) (*taken, error) {
	backup := b.newBackup("shortest")
	backup.Spec.IncludedNamespaces = b.set.namespaces()[:1]
	backup.Spec.IncludedResources = []string{"configmaps"}
	if b.set.secrets > 0 { // which has no others
		backup.Spec.IncludedResources = []string{"namespaces"}
	}
	t, err := b.execute(ctx, backup, b.kubeconfig)
	if err != nil {
		return nil, err
	}
	return t, b.remove(ctx, backup.Name)
}

// newBackup is a Backup as the plugin creates it.
func (b *bed) newBackup(suffix string) *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{
			Name:        fmt.Sprintf("bench-%d-%s", time.Now().UnixNano(), suffix),
			Annotations: map[string]string{velerov1.AttemptAnnotation: "0"},
			Labels:      map[string]string{velerov1.StorageLocationLabel: velerov1.DefaultName},
		},
		Spec:   velerov1.BackupSpec{StorageLocation: velerov1.DefaultName},
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}
}

// execute creates the Backup and lets the executor carry it out.
func (b *bed) execute(ctx context.Context, backup *velerov1.Backup, kubeconfig string) (*taken, error) {
	if err := b.create(ctx, backup); err != nil {
		return nil, err
	}
	time.Sleep(settle)
	return b.run(ctx, nil, b.executor, "backup", "--name", backup.Name, "-n", velerov1.DefaultNamespace,
		"--kubeconfig", kubeconfig, "--credentials-file", b.s3.CredentialsFile)
}

func (b *bed) create(ctx context.Context, backup *velerov1.Backup) error {
	_, err := b.velero.Backups(velerov1.DefaultNamespace).Create(ctx, backup, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Backup: %w", err)
	}
	return nil
}

// remove deletes a backup that was looked at, so that all measure the same.
func (b *bed) remove(ctx context.Context, name string) error {
	var keys []string
	for object, err := range b.bucket.List(ctx, backupFolder(name)) {
		if err != nil {
			return err
		}
		keys = append(keys, object.Key)
	}
	if err := b.bucket.Delete(ctx, keys...); err != nil {
		return err
	}
	return b.velero.Backups(velerov1.DefaultNamespace).Delete(ctx, name, metav1.DeleteOptions{})
}

func backupFolder(name string) string { return "backups/" + name + "/" }

func last[T any](all []T) T { return all[len(all)-1] }

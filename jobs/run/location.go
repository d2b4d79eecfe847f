package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// openStore opens the bucket of a location with what this pod has for it:
// credentials, certificates, key and volume are files that its Job mounted. That
// it can't be opened is noted in the location's status.
func (e *Env) openStore(opts Options) func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) {
	return func(ctx context.Context, location *velerov1.BackupStorageLocation) (store.Bucket, error) {
		if err := e.checkMounts(location); err != nil {
			return nil, err
		}
		caCert, err := e.caCert(ctx, location)
		if err != nil {
			return nil, err
		}
		l := store.FromSpec(location, caCert, opts.CredentialsFile)
		l.CustomerKeyFile, l.Root = opts.CustomerKeyFile, opts.StorageDir
		bucket, err := store.Open(ctx, l)
		if err != nil && ctx.Err() == nil {
			e.setPhase(ctx, location, velerov1.BackupStorageLocationPhaseUnavailable, err.Error())
		}
		return bucket, err
	}
}

// checkMounts refuses a location for which this Job has nothing, or for which it
// has what belongs to another: a CronJob is made for the location that its
// schedule had then, and using the wrong credentials may reach a wrong bucket.
func (e *Env) checkMounts(location *velerov1.BackupStorageLocation) error {
	if e.JobName == "" || os.Getenv(launch.LocationMountsVariable) == launch.MountsOf(location).Hash() {
		return nil
	}
	return &Refusal{Problems: []string{fmt.Sprintf("Job %q was not made for storage location %q as it is now: credentials, certificates or volume differ; "+
		"hint: `kubectl velero backup-location set %[2]s` brings the CronJobs of its schedules up to date; else start the operation again", e.JobName, location.Name)}}
}

// caCert is the content of a location's caCertRef; nil when it has none. A Job has
// it as a file.
func (e *Env) caCert(ctx context.Context, location *velerov1.BackupStorageLocation) ([]byte, error) {
	if location.Spec.ObjectStorage == nil || location.Spec.ObjectStorage.CACertRef == nil {
		return nil, nil
	}
	from := location.Spec.ObjectStorage.CACertRef
	if e.JobName != "" {
		pem, err := os.ReadFile(filepath.Join(launch.CACertDir, launch.CACertKey))
		if err != nil {
			return nil, fmt.Errorf("read caCertRef of storage location %q: %w", location.Name, err)
		}
		return pem, nil
	}
	secret, err := e.Kube.CoreV1().Secrets(location.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read caCertRef of storage location %q: %w", location.Name, err)
	}
	pem, ok := secret.Data[from.Key]
	if !ok {
		return nil, fmt.Errorf("read caCertRef of storage location %q: secret %q has no key %q", location.Name, from.Name, from.Key)
	}
	return pem, nil
}

// NoteLocation keeps a location's status true: err is what using it came to, nil
// if that went well. An error that says nothing about the location, such as a
// name that is taken or an interruption, is passed over. That the status can't be
// written is only logged.
func (e *Env) NoteLocation(ctx context.Context, location *velerov1.BackupStorageLocation, err error) {
	switch {
	case err == nil:
		e.setPhase(ctx, location, velerov1.BackupStorageLocationPhaseAvailable, "")
	case ctx.Err() != nil:
	case errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrNoBucket), errors.Is(err, store.ErrUnavailable):
		e.setPhase(ctx, location, velerov1.BackupStorageLocationPhaseUnavailable, err.Error())
	}
}

// setPhase patches the status; location itself is left as it is.
func (e *Env) setPhase(ctx context.Context, location *velerov1.BackupStorageLocation, phase velerov1.BackupStorageLocationPhase, message string) {
	status := map[string]any{"phase": phase, "lastValidationTime": metav1.NewTime(time.Now().UTC().Truncate(time.Second)), "message": nil}
	if message != "" {
		status["message"] = message
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		_, err = e.Client.BackupStorageLocations(location.Namespace).Patch(ctx, location.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		e.Log.Warn("the status of the storage location is not written", "storageLocation", location.Name, "error", err)
	}
}

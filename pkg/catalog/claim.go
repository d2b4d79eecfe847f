package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Claim says who uses a backup's name in a bucket. It is the first object of a
// backup, and created only if absent, so that two writers can't mix one backup.
type Claim struct {
	// ClusterID is the UID of the writing cluster's kube-system namespace.
	ClusterID string `json:"clusterID"`
	// BackupUID is the UID of the Backup object. Only the same may take over.
	BackupUID string `json:"backupUID"`
	// Attempt counts from 1; it is that of the first who claimed.
	Attempt int         `json:"attempt"`
	Created metav1.Time `json:"created"`
}

// TakenError means that a backup's name is used by another Backup.
type TakenError struct {
	Backup string
	// By is the claim that stands there; zero for a backup made by Velero.
	By Claim
	// Committed says that the other backup exists; otherwise it runs or failed.
	Committed bool
}

func (e *TakenError) Error() string {
	if e.Committed {
		return fmt.Sprintf("backup %q already exists there; hint: choose another name, or delete that backup first", e.Backup)
	}
	return fmt.Sprintf("the name %q is used there by a backup that is not complete (claimed %s); hint: choose another name, or delete that backup first",
		e.Backup, e.By.Created.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// AlreadyCommittedError means that this very backup exists: an earlier attempt
// wrote the marker and couldn't tell.
type AlreadyCommittedError struct {
	// Marker is the backup as it was committed.
	Marker *velerov1.Backup
}

func (e *AlreadyCommittedError) Error() string {
	return fmt.Sprintf("backup %q was committed by an earlier attempt", e.Marker.Name)
}

// Claim takes the backup's name for the Backup with cl's UID, which may hold it
// already. It fails with a *TakenError or an *AlreadyCommittedError. A claim
// that stands is never rewritten. Where an earlier attempt got further than the
// claim and nothing may be replaced, what is stored next is a *UsedUpError.
func (c *Catalog) Claim(ctx context.Context, backup string, cl Claim) error {
	if err := checkName("backup", backup); err != nil {
		return err
	}
	if cl.BackupUID == "" {
		return fmt.Errorf("claim backup %q: the claim names no Backup", backup)
	}
	if err := c.checkMarker(ctx, backup, cl.BackupUID); err != nil {
		return err
	}
	body, err := json.Marshal(cl)
	if err != nil {
		return fmt.Errorf("encode the claim of backup %q: %w", backup, err)
	}
	err = c.bucket.Create(ctx, claimKey(backup), body)
	if err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("claim backup %q: %w", backup, usedUp(claimKey(backup), err))
	}
	return c.takeOver(ctx, backup, cl)
}

// takeOver goes on where an earlier attempt of the same Backup ended.
func (c *Catalog) takeOver(ctx context.Context, backup string, cl Claim) error {
	by, err := c.ReadClaim(ctx, backup)
	if err != nil {
		return err
	}
	if by.BackupUID != cl.BackupUID {
		return &TakenError{Backup: backup, By: by}
	}
	return c.tidyUploads(ctx, backup)
}

// checkMarker fails if the backup exists, with an error that says whether it is
// the one with this UID.
func (c *Catalog) checkMarker(ctx context.Context, backup, uid string) error {
	marker, err := c.ReadBackup(ctx, backup)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if uid != "" && string(marker.UID) == uid {
		return &AlreadyCommittedError{Marker: marker}
	}
	by, err := c.ReadClaim(ctx, backup)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return err
	}
	return &TakenError{Backup: backup, By: by, Committed: true}
}

// ReadClaim returns the claim on a backup's name; store.ErrNotExist when there is
// none, as for backups made by Velero.
func (c *Catalog) ReadClaim(ctx context.Context, backup string) (Claim, error) {
	var cl Claim
	if err := checkName("backup", backup); err != nil {
		return cl, err
	}
	body, err := c.readAll(ctx, claimKey(backup))
	if err != nil {
		return cl, fmt.Errorf("read the claim of backup %q: %w", backup, err)
	}
	if err := json.Unmarshal(body, &cl); err != nil {
		return cl, fmt.Errorf("decode the claim of backup %q: %w", backup, err)
	}
	return cl, nil
}

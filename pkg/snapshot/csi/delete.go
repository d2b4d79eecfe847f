package csi

import (
	"context"
	"errors"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Handle is a snapshot in a driver's storage.
type Handle struct {
	Driver, Snapshot string
	// SecretName and SecretNamespace are of the Secret with which the driver deletes
	// it; empty when it needs none.
	SecretName, SecretNamespace string
	// Group is the handle of the group snapshot that it is a member of, GroupMembers
	// are the handles of all members. CSI has such a snapshot deleted with its group
	// only: so Delete deletes the whole group.
	Group        string
	GroupMembers []string
	// Node is the node whose part of the driver has it; empty for drivers that work
	// for all nodes.
	Node string
}

func (h Handle) String() string {
	if h.Group != "" {
		return fmt.Sprintf("group snapshot %q of driver %q", h.Group, h.Driver)
	}
	return fmt.Sprintf("snapshot %q of driver %q", h.Snapshot, h.Driver)
}

// Delete deletes a snapshot in a driver's storage and returns when it is gone; one
// that isn't there is fine. A driver that refuses, or isn't there, is an error with
// what its sidecar says about it, after timeout.
//
// Only csi-snapshotter may talk to the driver. It is told by a content that is made
// for the purpose, and deleted at once: its finalizer keeps it until the driver has
// answered.
func (c *Client) Delete(ctx context.Context, h Handle, timeout time.Duration) error {
	if h.Driver == "" || h.Snapshot == "" && h.Group == "" {
		return errors.New("delete snapshot: its driver or handle isn't known")
	}
	t := c.temporary(h, snapshotv1.VolumeSnapshotContentDelete)
	if h.Group != "" {
		api, err := c.findGroupAPI(ctx)
		if err != nil {
			return fmt.Errorf("delete %s: %w", h, err)
		}
		if api == nil {
			return fmt.Errorf("delete %s: this cluster has no group snapshots; hint: install the API %s with its controller", h, groupSnapshots)
		}
		t = c.temporaryGroup(h, api)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done, err := c.temporaries.take(ctx, t.name)
	if err == nil {
		defer done()
		err = c.destroy(ctx, t)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", h, err)
	}
	return nil
}

// destroy makes temporary contents until the driver has deleted what they stand for.
func (c *Client) destroy(ctx context.Context, t temporary) error {
	var deleted bool
	var err error
	for !deleted && err == nil {
		deleted, err = t.destroy(ctx)
	}
	if err == nil || errors.Is(err, errNotAlone) {
		return err
	}
	cause := context.Cause(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	said := c.lastWarning(ctx, t.name)
	if gone := t.giveUp(ctx); gone != nil {
		c.log.Warn("a temporary volume snapshot content could not be removed", "name", t.name, "error", gone)
	}
	switch {
	case !errors.Is(cause, context.DeadlineExceeded):
		return err
	case said != "":
		return &lateError{fmt.Sprintf("the driver has not done it: %q; hint: something that was made from it may need it; the log of csi-snapshotter beside the driver has the driver's reason", said)}
	}
	return &lateError{c.silence(ctx, t.driver)}
}

// lateError is about a driver that has not deleted a snapshot in time.
type lateError struct{ text string }

func (e *lateError) Error() string { return e.text }

// destroy makes a content, deletes it and reports whether the driver has deleted
// what it stands for.
func (t temporary) destroy(ctx context.Context) (deleted bool, err error) {
	if _, err := t.make(ctx); err != nil {
		return false, err
	}
	set, err := t.setStatus(ctx)
	if apierrors.IsNotFound(err) { // an earlier attempt's, which went just now
		return false, nil
	}
	if err == nil {
		err = t.delete(ctx)
	}
	if err != nil {
		return false, err
	}
	return t.awaitDeletion(ctx, set)
}

// Exists asks a driver whether it has a snapshot. A driver that can't say is an error.
func (c *Client) Exists(ctx context.Context, h Handle, timeout time.Duration) (bool, error) {
	if h.Driver == "" || h.Snapshot == "" {
		return false, errors.New("look for snapshot: its driver or handle isn't known")
	}
	h.Group = "" // the member itself is asked for
	t := c.temporary(h, snapshotv1.VolumeSnapshotContentRetain)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done, err := c.temporaries.take(ctx, t.name)
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", h, err)
	}
	defer done()
	exists, err := c.ask(ctx, t)
	cleanup, cancelCleanup := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancelCleanup()
	if gone := t.giveUp(cleanup); gone != nil {
		c.log.Warn("a temporary volume snapshot content could not be removed", "name", t.name, "error", gone)
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", h, err)
	}
	return exists, nil
}

// ask makes a temporary content and reads from it what the driver answers.
func (c *Client) ask(ctx context.Context, t temporary) (exists bool, err error) {
	if err := t.giveUp(ctx); err != nil { // an earlier one has an old answer
		return false, err
	}
	if _, err := t.make(ctx); err != nil {
		return false, err
	}
	var said string
	err = poll(ctx, firstLook, lastLook/2, func() (bool, error) {
		content, err := c.getContent(ctx, t.name)
		if err == nil && content == nil { // somebody else asked by it, and removed it
			_, err = t.make(ctx)
		}
		if err != nil || content == nil {
			return false, err
		}
		if content.Status == nil {
			return false, nil
		}
		said = message(content.Status.Error)
		switch {
		case content.Status.SnapshotHandle != nil && said == "":
			exists = true
			return true, invented(content)
		case notThere(said):
			return true, nil
		}
		return false, nil
	})
	switch {
	case err == nil || !errors.Is(err, context.DeadlineExceeded):
		return exists, err
	case said != "":
		return false, fmt.Errorf("the driver can't say: %s", said)
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return false, errors.New(c.silence(cleanup, t.driver))
}

// errCannotList is the error about a driver that doesn't tell of its snapshots.
var errCannotList = errors.New("the driver can't list snapshots, so nobody can tell whether it is there")

// invented returns an error when the answer is csi-snapshotter's own: for a driver
// that can't list snapshots it takes each for there, and cut just now.
func invented(content *snapshotv1.VolumeSnapshotContent) error {
	status := content.Status
	if status.RestoreSize == nil && status.CreationTime != nil && !time.Unix(0, *status.CreationTime).Before(content.CreationTimestamp.Time) {
		return errCannotList
	}
	return nil
}

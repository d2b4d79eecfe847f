package csi

import (
	"context"
	"fmt"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	conflicts "k8s.io/client-go/util/retry"
)

// Pace of looking: two lists for all snapshots, however many there are.
const (
	firstLook = 250 * time.Millisecond
	lastLook  = 5 * time.Second
)

// stage is what a snapshot has to become, and within what time since then, or else
// since it was asked for.
type stage struct {
	name    string
	timeout time.Duration
	since   time.Time
	reached func(*entry) bool
}

// late reports whether an entry has run out of time.
func (s stage) late(e *entry) bool {
	since := s.since
	if since.IsZero() {
		since = e.Started.Time
	}
	return time.Since(since) > s.timeout
}

// await looks at the entries until each has reached the stage, has failed or has
// run out of time.
func (t *Taker) await(ctx context.Context, entries []*entry, to stage) error {
	open := unfinished(entries, func(*entry) bool { return false })
	return poll(ctx, firstLook, lastLook, func() (bool, error) {
		if len(open) == 0 {
			return true, nil
		}
		err := t.observe(ctx, open)
		if err != nil {
			t.client.log.Warn("snapshots can't be read; trying again", "error", err)
		}
		open = unfinished(open, to.reached)
		for _, e := range open {
			if !to.late(e) {
				continue
			}
			if err != nil {
				e.fail(fmt.Errorf("the snapshot is not %s after %s: its state can't be read: %w", to.name, to.timeout, err))
			}
			e.fail(e.timedOut(to))
		}
		open = unfinished(open, to.reached)
		return len(open) == 0, nil
	})
}

// unfinished are the entries that are neither done nor failed.
func unfinished(entries []*entry, done func(*entry) bool) []*entry {
	var open []*entry
	for _, e := range entries {
		if e.Err != nil || e.seen && done(e) || e.Err != nil {
			continue
		}
		open = append(open, e)
	}
	return open
}

// observe reads the objects of entries. What can't be read is read the next time.
func (t *Taker) observe(ctx context.Context, entries []*entry) error {
	for _, g := range groupsOf(entries) {
		g.observe(ctx, t)
	}
	state, err := t.client.read(ctx, ownerSelector(t.backup.Name, t.backup.UID))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.group != nil {
			e.group.settle(e)
		}
	}
	t.client.each(len(entries), func(i int) {
		if e := entries[i]; e.uid != "" && e.Err == nil {
			t.look(ctx, e, state)
		}
	})
	return nil
}

// look finds an entry's objects in what was read. Its content is labelled as the
// backup's as soon as there is one.
func (t *Taker) look(ctx context.Context, e *entry, state state) {
	object, ok := state.snapshots[e.uid]
	if !ok {
		e.withoutObject(state)
		return
	}
	var content *contentFacts
	if object.content != "" {
		if content = state.contents[object.content]; content == nil {
			content = t.label(ctx, object.content)
		}
	}
	e.observed(object, t.remind(ctx, e, content))
}

// How long a snapshot that isn't cut, or isn't ready, is left to csi-snapshotter's
// own pace, which gets slower and slower, and at times forgets one until its next
// resync. While one isn't cut, an application may be held still.
const (
	remindToCut  = 5 * time.Second
	remindToLook = 30 * time.Second
)

// remind makes csi-snapshotter look at a content again that stays as it is. It
// returns the content.
func (t *Taker) remind(ctx context.Context, e *entry, content *contentFacts) *contentFacts {
	if content == nil || content.deleting || content.isReady() {
		return content
	}
	every := remindToLook
	if content.handle == "" {
		every = remindToCut
	}
	if e.reminded.IsZero() {
		e.reminded = time.Now()
	}
	if time.Since(e.reminded) < every {
		return content
	}
	e.reminded = time.Now()
	reminded, err := t.client.contents().Patch(ctx, content.name, types.MergePatchType, nudge(false, ""), metav1.PatchOptions{})
	if err != nil {
		t.client.log.Debug("volume snapshot content can't be annotated", "name", content.name, "error", err)
		return content
	}
	return factsOfContent(reminded)
}

// label marks a content as the backup's, and makes the driver keep its data when the
// namespace goes. One that is being deleted stays as it is: its data goes, and with
// another policy it would stay where nothing knows of it. label returns nil when it
// didn't work this time.
func (t *Taker) label(ctx context.Context, name string) *contentFacts {
	var content *snapshotv1.VolumeSnapshotContent
	err := conflicts.RetryOnConflict(conflicts.DefaultRetry, func() (err error) {
		content, err = t.client.getContent(ctx, name)
		if err != nil || content == nil || content.DeletionTimestamp != nil {
			return err
		}
		content, err = t.client.patchContent(ctx, name, t.mark(content.ResourceVersion))
		return err
	})
	switch {
	case apierrors.IsNotFound(err) || err == nil && content == nil:
		return nil
	case err != nil:
		t.client.log.Warn("volume snapshot content can't be labelled; trying again", "name", name, "error", err)
		return nil
	}
	return factsOfContent(content)
}

// mark is the patch that makes a content of this version, of a snapshot or of a group,
// the backup's, whose data goes unless Keep says otherwise.
func (t *Taker) mark(resourceVersion string) []byte {
	labels := owned(t.backup)
	labels[kept] = notKept
	return mustEncode(map[string]any{
		"metadata": map[string]any{"labels": labels, "resourceVersion": resourceVersion},
		"spec":     map[string]any{"deletionPolicy": snapshotv1.VolumeSnapshotContentRetain},
	})
}

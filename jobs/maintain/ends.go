package maintain

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// endBackups gives Backups that ended without a word, or can't start, their end:
// that of the commit marker where there is one, else Failed.
func (m *maintenance) endBackups(ctx context.Context) error {
	list, err := m.Client.Backups(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Backups: %w", err)
	}
	states, err := m.observer.ObserveBackups(ctx, list.Items)
	if err != nil {
		return err
	}
	for i, state := range states {
		obj := ref.Object{Resource: backups, Kind: "Backup", Namespace: m.Namespace, Name: list.Items[i].Name}
		if err := m.endBackup(ctx, obj, &list.Items[i], state); err != nil {
			m.problem(obj, err)
		}
	}
	return nil
}

func (m *maintenance) endBackup(ctx context.Context, obj ref.Object, backup *velerov1.Backup, state launch.State) error {
	if m.Location != "" && backup.Spec.StorageLocation != m.Location {
		return nil
	}
	verdict := launch.Judge(state)
	if !inProgress(state) || !verdict.AskBucket {
		return m.settle(ctx, obj, state, verdict)
	}
	marker, err := m.marker(ctx, backup)
	if errors.Is(err, errOwnJob) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s; whether the backup is complete all the same is not known: %w", verdict.Reason, err)
	}
	if marker != nil {
		return m.adopt(ctx, obj, backup, marker)
	}
	return m.settle(ctx, obj, state, withoutMarker(verdict))
}

// endRestores does for Restores what endBackups does for Backups.
func (m *maintenance) endRestores(ctx context.Context) error {
	list, err := m.Client.Restores(m.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Restores: %w", err)
	}
	states, err := m.observer.ObserveRestores(ctx, list.Items)
	if err != nil {
		return err
	}
	for i, state := range states {
		obj := ref.Object{Resource: restores, Kind: "Restore", Namespace: m.Namespace, Name: list.Items[i].Name}
		if err := m.settle(ctx, obj, state, launch.Judge(state)); err != nil {
			m.problem(obj, err)
		}
	}
	return nil
}

// inProgress reports whether state is of an operation that this program may
// have to end. The other phases without an end are a Velero server's.
func inProgress(state launch.State) bool {
	return !state.Gone && state.CR.Phase == string(velerov1.BackupPhaseInProgress)
}

// settle writes down an end that nobody wrote. Whoever changed the record
// meanwhile knows better.
func (m *maintenance) settle(ctx context.Context, obj ref.Object, state launch.State, verdict launch.Verdict) error {
	if !inProgress(state) || verdict.Standing != launch.Ended || !verdict.MayWrite {
		return nil
	}
	_, err := m.observer.Settle(ctx, state, verdict)
	if errors.Is(err, launch.ErrChanged) {
		m.Log.Info("left alone", "object", obj.String(), "reason", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	m.did("ended", obj, string(verdict.Outcome)+": "+verdict.Reason)
	return nil
}

// withoutMarker is the verdict on a backup without a commit marker: whatever its
// executor said, there is no backup.
func withoutMarker(v launch.Verdict) launch.Verdict {
	if v.Outcome == report.Completed || v.Outcome == report.PartiallyFailed {
		v.Outcome, v.Reason = report.Failed, fmt.Sprintf("its executor ended with %s, but the bucket has no commit marker", v.Outcome)
	}
	v.AskBucket, v.MayWrite = false, true
	return v
}

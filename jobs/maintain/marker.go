package maintain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// marker reads the commit marker of this very backup; nil when there is none, or
// only one of another backup of the same name. An error means that nobody knows.
func (m *maintenance) marker(ctx context.Context, backup *velerov1.Backup) (*velerov1.Backup, error) {
	o := m.open(ctx, backup.Spec.StorageLocation)
	if o.err != nil {
		return nil, o.err
	}
	marker, err := o.catalog.ReadBackup(ctx, backup.Name)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storage location %q: %w", backup.Spec.StorageLocation, err)
	}
	if marker.UID != backup.UID || !marker.Status.Phase.Terminal() {
		return nil, nil
	}
	return marker, nil
}

// adopt gives a Backup the end that its commit marker has.
func (m *maintenance) adopt(ctx context.Context, obj ref.Object, backup, marker *velerov1.Backup) error {
	status, err := fieldsOf(marker.Status)
	if err != nil {
		return err
	}
	annotations := map[string]string{}
	if causes := marker.Annotations[velerov1.TopCausesAnnotation]; causes != "" {
		annotations[velerov1.TopCausesAnnotation] = causes
	}
	r := record.Open(m.Dynamic, backups, obj.Kind, backup, m.Log)
	err = r.Finish(ctx, string(marker.Status.Phase), status, annotations)
	if errors.Is(err, record.ErrEnded) {
		m.Log.Info("left alone", "object", obj.String(), "reason", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	const reason = "the bucket has its commit marker; the executor ended before it could say so"
	r.Event(ctx, corev1.EventTypeNormal, "Backup"+string(marker.Status.Phase), reason)
	m.did("adopted", obj, reason)
	return nil
}

// fieldsOf is a status as the fields of a merge patch. Counts that an earlier attempt
// told go where the marker has none.
func fieldsOf(status velerov1.BackupStatus) (map[string]any, error) {
	body, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encode the marker's status: %w", err)
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("encode the marker's status: %w", err)
	}
	for _, count := range velerov1.SnapshotCounts() {
		if _, told := fields[count]; !told {
			fields[count] = nil
		}
	}
	return fields, nil
}

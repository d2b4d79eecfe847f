package v1

import (
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BackupName is the name of the backup that the schedule makes at that time.
func (s *Schedule) BackupName(at time.Time) string {
	return s.Name + "-" + at.UTC().Format("20060102150405")
}

// NewBackup returns the Backup that a turn of the schedule makes, as Velero
// builds it: the template as its spec, the template's labels or else the
// schedule's, the schedule's annotations, and the schedule as its owner where
// the schedule says so.
func (s *Schedule) NewBackup(name string) *Backup {
	labels := map[string]string{}
	if own := s.Spec.Template.Metadata.Labels; own != nil {
		maps.Copy(labels, own)
	} else {
		maps.Copy(labels, s.Labels)
	}
	labels[ScheduleNameLabel] = s.Name
	annotations := map[string]string{}
	maps.Copy(annotations, s.Annotations)
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	backup := &Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: name, Labels: labels, Annotations: annotations},
		Spec:       *s.Spec.Template.DeepCopy(),
	}
	if s.Spec.UseOwnerReferencesInBackup != nil && *s.Spec.UseOwnerReferencesInBackup {
		owner := metav1.NewControllerRef(s, SchemeGroupVersion.WithKind("Schedule"))
		backup.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	return backup
}

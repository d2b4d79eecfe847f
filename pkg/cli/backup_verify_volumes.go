package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// volumesResult is what came of looking for the data of a backup's volumes.
type volumesResult struct {
	Summary report.VolumesEnd    `json:"summary"`
	Volumes []report.VolumeCheck `json:"volumes"`
}

// verifyVolumes asks whoever has the snapshots of a backup whether they still do.
func (v *verification) verifyVolumes(ctx context.Context, s *session, backup string, moved func()) error {
	job, err := s.openVolumes(ctx, backup)
	if err != nil {
		return err
	}
	defer func() {
		if err := job.Close(ctx); err != nil {
			s.warn("%v", err)
		}
	}()
	v.Volumes = &volumesResult{Volumes: []report.VolumeCheck{}}
	v.Volumes.Summary, err = job.Run(ctx, func(e report.VolumeEvent) error {
		moved()
		v.volumeEvent(e)
		return nil
	})
	return err
}

// openVolumes starts the Job that looks.
func (s *session) openVolumes(ctx context.Context, name string) (*reader.Volumes, error) {
	if err := s.mustBeAllowed(ctx, checkPermissions...); err != nil {
		return nil, err
	}
	backup, err := s.velero.Backups(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, s.notFound(backupNoun, name, err)
	}
	location, err := s.takenTo(ctx, backup.Spec.StorageLocation)
	if err != nil {
		return nil, fmt.Errorf("backup %q: %w", name, err)
	}
	snapshots, err := s.snapshotLocationsOf(ctx, backup)
	if err != nil {
		return nil, fmt.Errorf("backup %q: %w", name, err)
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, err
	}
	return reader.OpenVolumes(ctx, reader.VolumesConfig{
		Cluster: s.cluster(template), Backup: name, Location: location, SnapshotLocations: snapshots, Trust: s.trust,
	})
}

// volumeEvent prints a volume, or now and then how far it is.
func (v *verification) volumeEvent(e report.VolumeEvent) {
	now := v.f.now()
	switch {
	case e.Volume != nil && v.json:
		v.Volumes.Volumes = append(v.Volumes.Volumes, *e.Volume)
	case e.Volume != nil:
		if len(v.Volumes.Volumes) == 0 {
			report.PrintVolumeHeader(v.f.Out)
		}
		v.Volumes.Volumes = append(v.Volumes.Volumes, *e.Volume)
		e.Volume.Print(v.f.Out)
	case e.Progress != nil && now.Sub(v.told) >= lineEvery:
		v.told = now
		fmt.Fprintf(v.f.ErrOut, "%4s %d of %d volumes\n", now.Sub(v.begun).Round(time.Second), e.Progress.Done, e.Progress.Total)
	}
}

// outcome is the error that stands for what came of it; nil when all is there.
func (r *volumesResult) outcome(backup string) error {
	end := r.Summary
	switch {
	case end.Missing+end.Failed > 0:
		return &outcomeError{outcome: report.Failed, text: end.Verdict(backup)}
	case end.Unknown > 0 || end.Reason != "":
		return fmt.Errorf("%s; hint: the rows with status unknown say why", end.Verdict(backup))
	}
	return nil
}

// sentence makes text begin like one.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

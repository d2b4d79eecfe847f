package restore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

const (
	// finishTimeout bounds the writes to the Restore at the end.
	finishTimeout = 30 * time.Second
	// outputTimeout bounds the writes to the bucket at the end.
	outputTimeout = 2 * time.Minute
)

// ended is the summary of a restore that had its end before.
func ended(r *velerov1.Restore) report.Summary {
	s := report.Summary{
		Outcome: report.Outcome(r.Status.Phase), Reason: r.Status.FailureReason,
		Warnings: r.Status.Warnings, Errors: r.Status.Errors,
	}
	if r.Status.Phase == velerov1.RestorePhaseFailedValidation {
		s.Outcome, s.Reason = report.Usage, strings.Join(r.Status.ValidationErrors, "; ")
	}
	if r.Status.Progress != nil {
		s.Items = r.Status.Progress.ItemsRestored
	}
	return s
}

// end writes how the run ended into the bucket and the Restore, unless another
// attempt follows, and gives up its rights. What was interrupted tells the
// Restore first: there may be no time for more.
func (o *operation) end(ctx context.Context, runErr error) (report.Summary, error) {
	o.reportUnserved()
	o.reportStrays()
	summary := o.Summarize(ctx, o.report, runErr)
	if summary.Outcome == report.Temporary {
		o.Log.Warn("this attempt failed; the Job starts another", "reason", summary.Reason)
		return summary, nil
	}
	interrupted := ctx.Err() != nil
	if !interrupted {
		o.putOutputs(ctx, summary)
		summary = o.Summarize(ctx, o.report, runErr) // an output that isn't stored counts
	}
	err := o.finish(ctx, summary, runErr)
	if interrupted {
		o.putOutputs(ctx, summary)
	}
	o.dropRights(ctx)
	if errors.Is(err, record.ErrEnded) {
		o.Log.Warn("the restore was ended by someone else", "error", err)
		return summary, nil
	}
	return summary, err
}

// reportUnserved reports the kinds that should have been served by now and
// aren't.
func (o *operation) reportUnserved() {
	kinds := slices.SortedFunc(maps.Keys(o.unserved.counts), func(a, b schema.GroupVersionResource) int {
		return cmp.Compare(a.String(), b.String())
	})
	for _, gvr := range kinds {
		o.reportMissing(gvr, o.unserved.counts[gvr].kind, o.unserved.counts[gvr].count)
	}
}

// finish writes status and Event.
func (o *operation) finish(ctx context.Context, s report.Summary, runErr error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	status := map[string]any{
		"completionTimestamp": now(),
		"warnings":            s.Warnings,
		"errors":              s.Errors,
		"progress":            velerov1.RestoreProgress{TotalItems: s.Items, ItemsRestored: s.Items},
	}
	if o.postHooks != nil && o.postHooks.Attempted() > 0 {
		status["hookStatus"] = velerov1.HookStatus{HooksAttempted: o.postHooks.Attempted(), HooksFailed: o.postHooks.Failed()}
	}
	var refused *run.Refusal
	switch {
	case s.Outcome == report.Usage && errors.As(runErr, &refused):
		status["validationErrors"] = refused.Problems
	case s.Outcome == report.Failed, s.Outcome == report.Cancelled:
		status["failureReason"] = s.Reason
	}
	annotations := map[string]string{}
	if len(s.TopCauses) > 0 {
		annotations[velerov1.TopCausesAnnotation] = strings.Join(s.TopCauses, "\n")
	}
	err := o.record.Finish(ctx, s.Outcome.Phase(), status, annotations)
	if s.Outcome == report.Completed {
		o.record.Event(ctx, corev1.EventTypeNormal, "RestoreCompleted", fmt.Sprintf("%d items restored, %d warnings", s.Items, s.Warnings))
	} else {
		o.record.Event(ctx, corev1.EventTypeWarning, "Restore"+string(s.Outcome), s.Reason)
	}
	return err
}

// putOutputs stores results, resource list and log below the restore's prefix.
// What can't be stored is an error of the report, not the end.
func (o *operation) putOutputs(ctx context.Context, s report.Summary) {
	if o.source == nil || s.Outcome == report.Usage {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), outputTimeout)
	defer cancel()
	// Nothing that a restore of snapshots does goes on after its objects: there are
	// no item operations, as in Velero.
	for _, output := range []struct {
		kind  catalog.RestoreFileKind
		write func(io.Writer) error
	}{
		{catalog.RestoreItemOperations, asJSON(func() any { return []any{} })},
		{catalog.RestoreVolumeInfo, asJSON(func() any { return o.restored.list() })},
		{catalog.RestoreResourceList, o.report.WriteResourceList},
		{catalog.RestoreResults, asJSON(func() any { return o.report.Results() })},
	} {
		if err := o.source.catalog.WriteGzip(ctx, catalog.RestoreFile(o.restore.Name, output.kind), output.write); err != nil {
			o.outputFailed(err)
		}
	}
	o.Log.Info("restore ends", "outcome", s.Outcome, "reason", s.Reason, "items", s.Items, "warnings", s.Warnings, "errors", s.Errors)
	if err := o.putLog(ctx); err != nil {
		o.outputFailed(err)
	}
}

func asJSON(content func() any) func(io.Writer) error {
	return func(w io.Writer) error { return json.NewEncoder(w).Encode(content()) }
}

// outputFailed reports an output that isn't in the bucket: an error, but a
// warning where nobody promised that one may write there.
func (o *operation) outputFailed(err error) {
	level := report.Error
	if o.source.readOnly {
		level = report.Warning
	}
	o.report.Add(level, ref.Object{}, err)
	o.Log.Error("output of the restore not stored", "error", err)
}

func (o *operation) putLog(ctx context.Context) error {
	text, err := o.LogText()
	if err != nil {
		return err
	}
	return o.source.catalog.PutCompressed(ctx, catalog.RestoreFile(o.restore.Name, catalog.RestoreLogs), text)
}

// dropRights deletes the binding that gave this restore its rights. It comes
// last: after it the process can do nothing more in the cluster. Where there
// is none, outside of a Job for example, nothing happens.
func (o *operation) dropRights(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := launch.Unbind(ctx, o.Kube, o.restore.UID); err != nil {
		o.Log.Warn("rights of the restore not given up; maintenance does it", "error", err)
	}
}

package run

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Refusal is an operation that was wrong before it began.
type Refusal struct {
	// Problems has a text for each thing that is wrong, naming the field.
	Problems []string
}

func (r *Refusal) Error() string { return strings.Join(r.Problems, "; ") }

// Temporary says whether another attempt is worth it: bucket or API server may
// get over err without anybody changing anything.
func Temporary(err error) bool {
	return store.Temporary(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) ||
		apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || apierrors.IsConflict(err) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsTimeout(err)
}

// topCauses is the number of causes that an end names.
const topCauses = 5

// Summarize decides how an operation ended: r is what became of the objects,
// err what ended the run early, nil when it got to its end.
func (e *Env) Summarize(ctx context.Context, r *report.Report, err error) report.Summary {
	s := report.Summary{
		Outcome: report.Completed, Warnings: r.Warnings(), Errors: r.Errors(), Items: r.Items(), TopCauses: r.TopCauses(topCauses),
	}
	var refused *Refusal
	switch {
	case err == nil && s.Errors > 0:
		s.Outcome, s.Reason = report.PartiallyFailed, fmt.Sprintf("%d errors: %s", s.Errors, strings.Join(s.TopCauses, "; "))
	case err == nil:
	case ctx.Err() != nil:
		s.Outcome, s.Reason = e.Interruption(ctx)
	case errors.As(err, &refused):
		s.Outcome, s.Reason = report.Usage, err.Error()
	case Temporary(err) && !e.LastAttempt:
		s.Outcome, s.Reason = report.Temporary, err.Error()
	default:
		s.Outcome, s.Reason = report.Failed, err.Error()
	}
	return s
}

// Problems returns the texts of an error, one for each of those that were joined.
func Problems(err error) []string {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []string{err.Error()}
	}
	var all []string
	for _, one := range joined.Unwrap() {
		all = append(all, Problems(one)...)
	}
	return all
}

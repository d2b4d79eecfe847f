package cli

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// start creates the Job of a record that exists already. A record whose Job
// can't be created is told so and ends Failed, instead of waiting for ever.
func (s *session) start(ctx context.Context, template *corev1.PodTemplate, op launch.Operation, cr launch.CR) error {
	_, err := launch.Start(ctx, s.kube, launch.Job(template, op))
	if err == nil {
		return nil
	}
	return s.neverStarted(ctx, op.Kind, cr, err)
}

// neverStarted writes the reason into the record and returns it.
func (s *session) neverStarted(ctx context.Context, operation string, cr launch.CR, why error) error {
	// The record must not stay InProgress because the user pressed ctrl-C now.
	ctx = context.WithoutCancel(ctx)
	state := launch.State{Operation: operation, CR: cr, Now: s.observer.Now()}
	verdict := launch.Verdict{Standing: launch.Ended, Outcome: report.Failed, Reason: why.Error(), MayWrite: true}
	if _, err := s.observer.Settle(ctx, state, verdict); err != nil {
		s.warn("%v", err)
	}
	return &outcomeError{outcome: report.Failed, text: fmt.Sprintf("%s %q failed: %v", operation, cr.Name, why)}
}

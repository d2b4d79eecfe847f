package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// hanging is an executor whose commands end with their contexts.
type hanging struct{}

func (hanging) Exec(ctx context.Context, _, _, _ string, _ []string, _, _ io.Writer) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestPostHooksOfABlockRunAtOnce: hooks that hang in some pods take none of the time
// that the others have until the process is killed.
func TestPostHooksOfABlockRunAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := &operation{report: report.New(), hookRunner: &hooks.Runner{Exec: hanging{}, Log: slog.New(slog.DiscardHandler)}}
		taker := &podTaker{collector: &collector{operation: o}, kind: &kind{}}
		var block []hookedPod
		for i := range 5 {
			hook := hooks.Hook{Command: []string{"fsfreeze"}, Timeout: 30 * time.Second}
			block = append(block, hookedPod{
				pod:  hooks.Pod{Namespace: "shop", Name: fmt.Sprintf("db-%d", i), Containers: []string{"db"}},
				plan: hooks.Plan{Post: []hooks.Hook{hook, hook}},
			})
		}
		stopped, stop := context.WithCancelCause(t.Context())
		stop(errors.New("the backup was stopped"))
		begin := time.Now()
		if err := taker.postAll(stopped, block); err != nil {
			t.Errorf("postAll: %v", err)
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("took %s; a pod's own two hooks take a minute", took)
		}
		if o.hookRunner.Failed() != 10 || o.report.Errors() != 10 {
			t.Errorf("%d hooks failed, the report has %d errors", o.hookRunner.Failed(), o.report.Errors())
		}
	})
}

package record

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestPatientlyBearsWithWhatPasses(t *testing.T) {
	t.Parallel()
	busy := apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "backups"}, "x")
	for _, c := range []struct {
		name    string
		answers []error
		calls   int
		want    error
	}{
		{"well", []error{nil}, 1, nil},
		{"busy once", []error{busy, nil}, 2, nil},
		{"gone", []error{gone}, 1, gone},
		{"busy, then gone", []error{busy, gone}, 2, gone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := patiently(t.Context(), func() error { calls++; return c.answers[calls-1] })
			if !errors.Is(err, c.want) || calls != c.calls {
				t.Errorf("%v after %d calls, want %v after %d", err, calls, c.want, c.calls)
			}
		})
	}
}

func TestPatienceEndsWithTheContextAndSaysWhy(t *testing.T) {
	t.Parallel()
	busy := apierrors.NewInternalError(errors.New("etcdserver: request timed out"))
	ctx, cancel := context.WithCancel(t.Context())
	if err := patiently(ctx, func() error { cancel(); return busy }); !errors.Is(err, busy) {
		t.Errorf("%v, want the reason", err)
	}
}

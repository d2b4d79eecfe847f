package launch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestPassing(t *testing.T) {
	t.Parallel()
	backups := schema.GroupResource{Group: "velero.io", Resource: "backups"}
	cases := map[string]struct {
		err  error
		want bool
	}{
		"no answer":         {errors.New("connection refused"), true},
		"overloaded":        {apierrors.NewTooManyRequests("later", 1), true},
		"broken":            {fmt.Errorf("get: %w", apierrors.NewInternalError(errors.New("etcd"))), true},
		"forbidden":         {apierrors.NewForbidden(backups, "shop", errors.New("no")), false},
		"no longer there":   {fmt.Errorf("get: %w", apierrors.NewNotFound(backups, "shop")), false},
		"credentials ended": {apierrors.NewUnauthorized("expired"), false},
	}
	for name, c := range cases {
		if got := passing(c.err); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestInterval(t *testing.T) {
	t.Parallel()
	if interval(time.Second) >= interval(time.Minute) {
		t.Error("polling doesn't slow down")
	}
}

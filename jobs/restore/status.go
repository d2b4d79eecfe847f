package restore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// chooseStatus prepares which kinds get their status back; nil means none.
func (o *operation) chooseStatus() error {
	wanted := o.restore.Spec.RestoreStatus
	if wanted == nil {
		return nil
	}
	var err error
	o.statuses, err = filter.New(filter.Spec{
		IncludedResources: wanted.IncludedResources, ExcludedResources: wanted.ExcludedResources,
	}, o.resolve)
	if err != nil {
		return refuse("restoreStatus: %v", err)
	}
	return nil
}

// restoreStatus gives a new object the status it had, when that is asked for by
// the object's annotation or else by the Restore. What fails is a warning.
func (o *operation) restoreStatus(ctx context.Context, obj *transform.Object, r result) result {
	wanted, warning := o.wantsStatus(obj, r)
	if warning != nil {
		r.warnings = append(r.warnings, warning)
	}
	status := obj.Status()
	if !wanted || len(status) == 0 || string(status) == "null" {
		return r
	}
	err := o.writer.MergePatch(ctx, r.place, []byte(`{"status":`+string(status)+`}`), "status")
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%s have no status that can be written", r.place.Resource.GroupResource())
	}
	switch {
	case err != nil && cluster.MayPass(err):
		r.retry = fmt.Errorf("restore its status: %w", err)
	case err != nil:
		r.warnings = append(r.warnings, fmt.Errorf("restore its status: %w", err))
	}
	return r
}

func (o *operation) wantsStatus(obj *transform.Object, r result) (bool, error) {
	wanted := o.statuses != nil && o.statuses.Kind(r.place.Resource.GroupResource(), true)
	text := obj.Annotation(velerov1.RestoreStatusAnnotation)
	if text == "" {
		return wanted, nil
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return wanted, fmt.Errorf("annotation %s: %s is neither true nor false", velerov1.RestoreStatusAnnotation, strconv.Quote(text))
}

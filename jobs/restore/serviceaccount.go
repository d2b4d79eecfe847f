package restore

import (
	"context"
	"fmt"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// meetServiceAccount merges a service account into the one that is there,
// whatever the policy: the default account of a namespace always is.
func meetServiceAccount(ctx context.Context, o *operation, obj, live *transform.Object, r result) result {
	have, want, err := o.normalized(live, obj, r.place.Resource.GroupResource())
	if err != nil {
		return r.failed(fmt.Errorf("compare with the existing one: %w", err))
	}
	return o.patch(ctx, mergeServiceAccount(have, want), r)
}

// mergeServiceAccount adds to a live service account what the archived one has
// beyond it; what is there wins.
func mergeServiceAccount(have, want map[string]any) map[string]any {
	patch := map[string]any{}
	for _, field := range []string{"secrets", "imagePullSecrets"} {
		if merged, more := mergeNames(have[field], want[field]); more {
			patch[field] = merged
		}
	}
	meta := map[string]any{}
	for _, field := range []string{"labels", "annotations"} {
		if added := missingKeys(have, want, field); len(added) > 0 {
			meta[field] = added
		}
	}
	if len(meta) > 0 {
		patch["metadata"] = meta
	}
	return patch
}

// mergeNames appends those references of want whose name have lacks.
func mergeNames(have, want any) ([]any, bool) {
	merged, _ := have.([]any)
	names := map[any]bool{}
	for _, entry := range merged {
		if entry, ok := entry.(map[string]any); ok {
			names[entry["name"]] = true
		}
	}
	more := false
	list, _ := want.([]any)
	for _, entry := range list {
		if e, ok := entry.(map[string]any); ok && !names[e["name"]] {
			merged, more = append(merged, entry), true
		}
	}
	return merged, more
}

func missingKeys(have, want map[string]any, field string) map[string]any {
	part := func(object map[string]any) map[string]any {
		meta, _ := object["metadata"].(map[string]any)
		values, _ := meta[field].(map[string]any)
		return values
	}
	added := map[string]any{}
	for key, value := range part(want) {
		if _, ok := part(have)[key]; !ok {
			added[key] = value
		}
	}
	return added
}

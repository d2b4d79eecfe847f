package transform

// jobUIDLabels tie a Job's pods to the Job by its UID. The API server makes new
// ones; old ones in the selector or the template would be refused.
var jobUIDLabels = []string{"controller-uid", "batch.kubernetes.io/controller-uid"}

// job lets a Job that hasn't ended run anew; ended Jobs don't come back.
func job(_ *Options, obj *Object) (Decision, error) {
	var status struct{ CompletionTime *string }
	if err := obj.Read("status", &status); err != nil {
		return Decision{}, err
	}
	if status.CompletionTime != nil && *status.CompletionTime != "" {
		return Decision{Skip: "the Job has completed"}, nil
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	for _, labels := range []map[string]any{child(spec, "selector", "matchLabels"), child(spec, "template", "metadata", "labels")} {
		for _, key := range jobUIDLabels {
			delete(labels, key)
		}
	}
	return Decision{}, nil
}

package transform

// jobUIDLabels tie a Job's pods to the Job by its UID. The API server makes new
// ones; old ones in the selector or the template would be refused.
var jobUIDLabels = []string{"controller-uid", "batch.kubernetes.io/controller-uid"}

// completedJob leaves out Jobs that have done their work.
func completedJob(_ *Options, obj *Object) (Decision, error) {
	completed, err := obj.text("status", "completionTime")
	if completed != "" {
		return Decision{Skip: "the Job has completed"}, nil
	}
	return Decision{}, err
}

// job lets a Job run anew.
func job(_ *Options, obj *Object) (Decision, error) {
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

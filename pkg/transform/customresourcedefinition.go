package transform

// customResourceDefinition moves spec.preserveUnknownFields, which the API
// server no longer accepts in v1, into the schemas.
func customResourceDefinition(_ *Options, obj *Object) (Decision, error) {
	preserve, err := obj.find("spec", "preserveUnknownFields")
	if err != nil || string(preserve) != "true" || obj.GroupVersionKind().Version != "v1" {
		return Decision{}, err // most: they are large and needn't be opened
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	spec["preserveUnknownFields"] = false
	for _, version := range mapsAt(spec, "versions") {
		if schema := child(version, "schema", "openAPIV3Schema"); schema != nil {
			schema["x-kubernetes-preserve-unknown-fields"] = true
		}
	}
	return Decision{}, nil
}

package transform

// customResourceDefinition moves spec.preserveUnknownFields, which the API
// server no longer accepts in v1, into the schemas, and follows the conversion
// webhook's namespace.
func customResourceDefinition(o *Options, obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	o.mapNamespace(child(spec, "conversion", "webhook", "clientConfig", "service"))
	if preserve, _ := spec["preserveUnknownFields"].(bool); !preserve || obj.GroupVersionKind().Version != "v1" {
		return Decision{}, nil
	}
	spec["preserveUnknownFields"] = false
	for _, version := range mapsAt(spec, "versions") {
		if schema := child(version, "schema", "openAPIV3Schema"); schema != nil {
			schema["x-kubernetes-preserve-unknown-fields"] = true
		}
	}
	return Decision{}, nil
}

// mapNamespace follows the namespace of a reference to a namespaced object.
func (o *Options) mapNamespace(ref map[string]any) {
	if namespace := text(ref, "namespace"); namespace != "" {
		ref["namespace"] = o.target(namespace)
	}
}

package transform

// autoManaged is the label of APIServices that the API server makes by itself.
const autoManaged = "kube-aggregator.kubernetes.io/automanaged"

// apiService leaves out those that belong to the API server itself and follows
// the namespace of the others' service.
func apiService(o *Options, obj *Object) (Decision, error) {
	if _, ok := obj.Labels()[autoManaged]; ok {
		return Decision{Skip: "the API server makes it by itself"}, nil
	}
	spec, err := obj.Edit("spec")
	if err != nil {
		return Decision{}, err
	}
	o.mapNamespace(child(spec, "service"))
	return Decision{}, nil
}

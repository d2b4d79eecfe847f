package transform

// madeByAPIServer is why objects stay out that every API server makes by itself.
const madeByAPIServer = "the API server makes it by itself"

// autoManaged is the label of APIServices that the API server makes by itself.
const autoManaged = "kube-aggregator.kubernetes.io/automanaged"

// apiService leaves out those that belong to the API server itself.
func apiService(_ *Options, obj *Object) (Decision, error) {
	if _, ok := obj.Labels()[autoManaged]; ok {
		return Decision{Skip: madeByAPIServer}, nil
	}
	return Decision{}, nil
}

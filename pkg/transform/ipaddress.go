package transform

import networkingv1 "k8s.io/api/networking/v1"

// addressAllocator marks the addresses that the API server gave to Services.
const addressAllocator = "ipallocator.k8s.io"

// ipAddress leaves out what the API server keeps for each address of a Service:
// restored Services get other addresses. Those made by hand come back.
func ipAddress(_ *Options, obj *Object) (Decision, error) {
	if obj.Label(networkingv1.LabelManagedBy) == addressAllocator {
		return Decision{Skip: "the API server gives addresses to Services"}, nil
	}
	return Decision{}, nil
}

// serviceCIDR leaves out the range that the API server was started with.
func serviceCIDR(_ *Options, obj *Object) (Decision, error) {
	if obj.Name() == apiServer {
		return Decision{Skip: madeByAPIServer}, nil
	}
	return Decision{}, nil
}

package transform

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// The labels and values by which Kubernetes' controllers mark what is theirs.
const (
	endpointsManagedBy     = "endpoints.kubernetes.io/managed-by"
	endpointController     = "endpoint-controller"
	endpointSlices         = "endpointslice-controller.k8s.io"
	endpointSliceMirroring = "endpointslicemirroring-controller.k8s.io"
)

// computed is why addresses of pods don't come back: the controller makes them
// from the restored Service and pods. Until then the old ones would send
// traffic to whoever has these addresses now; and slices without the new
// Service as owner are deleted by the controller anyway.
const computed = "the cluster computes the addresses of a Service's pods"

// endpoints leaves out Endpoints that belong to a Service with a selector.
// Those written by hand come back.
func endpoints(_ *Options, obj *Object) (Decision, error) {
	if obj.Label(endpointsManagedBy) == endpointController || ofAPIServer(obj) {
		return Decision{Skip: computed}, nil
	}
	// Kubernetes before 1.33 has no label; the annotation is the controller's too.
	if _, ok := obj.Annotations()[corev1.EndpointsLastChangeTriggerTime]; ok {
		return Decision{Skip: computed}, nil
	}
	return Decision{}, nil
}

// endpointSlice is the same for EndpointSlices.
func endpointSlice(_ *Options, obj *Object) (Decision, error) {
	switch obj.Label(discoveryv1.LabelManagedBy) {
	case endpointSlices, endpointSliceMirroring:
		return Decision{Skip: computed}, nil
	}
	if ofAPIServer(obj) {
		return Decision{Skip: computed}, nil
	}
	return Decision{}, nil
}

package transform

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// apiServer is the name of what the API server keeps about itself: a Service and
// its addresses in namespace default, and the range of all Services.
const apiServer = "kubernetes"

func ofAPIServer(obj *Object) bool {
	return obj.Name() == apiServer && obj.Namespace() == corev1.NamespaceDefault
}

// apiServerService leaves out the Service by which pods find the API server.
func apiServerService(_ *Options, obj *Object) (Decision, error) {
	if ofAPIServer(obj) {
		return Decision{Skip: madeByAPIServer}, nil
	}
	return Decision{}, nil
}

// service gives back the addresses and ports that the former cluster gave to a
// Service. What its owner asked for stays: "None" as address, and node ports
// that were named in the applied manifest.
func service(o *Options, obj *Object) (Decision, error) {
	spec, err := obj.Edit("spec")
	if err != nil || text(spec, "type") == string(corev1.ServiceTypeExternalName) {
		return Decision{}, err
	}
	if text(spec, "clusterIP") != corev1.ClusterIPNone {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	forgetSecondFamily(spec)
	if o.PreserveNodePorts || !hasNodePorts(spec) {
		return Decision{}, nil
	}
	asked, err := askedPorts(obj)
	for _, port := range mapsAt(spec, "ports") {
		if !asked.node(port) {
			delete(port, "nodePort")
		}
	}
	if text(spec, "type") == string(corev1.ServiceTypeLoadBalancer) &&
		text(spec, "externalTrafficPolicy") == string(corev1.ServiceExternalTrafficPolicyLocal) && !asked.healthCheck {
		delete(spec, "healthCheckNodePort")
	}
	if err != nil {
		return Decision{Warnings: []error{fmt.Errorf("which node ports were asked for is not known: %w", err)}}, nil
	}
	return Decision{}, nil
}

func hasNodePorts(spec map[string]any) bool {
	return spec["healthCheckNodePort"] != nil ||
		slices.ContainsFunc(mapsAt(spec, "ports"), func(port map[string]any) bool { return port["nodePort"] != nil })
}

// forgetSecondFamily leaves the second address family of a Service that only
// prefers two to the API server, which adds it where there are two, and refuses
// it by name where there is one.
func forgetSecondFamily(spec map[string]any) {
	families, _ := spec["ipFamilies"].([]any)
	if len(families) > 1 && text(spec, "ipFamilyPolicy") == string(corev1.IPFamilyPolicyPreferDualStack) {
		spec["ipFamilies"] = families[:1]
	}
}

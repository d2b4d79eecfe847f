package transform

import "k8s.io/apimachinery/pkg/runtime/schema"

// references lists, for each kind that names namespaces, where it does. No two
// paths of a kind meet: a namespace must not be mapped twice.
func references() map[schema.GroupResource][]reference {
	all := map[schema.GroupResource][]reference{
		{Resource: "endpoints"}: {
			at("subsets[].addresses[].targetRef.namespace", namespaceName),
			at("subsets[].notReadyAddresses[].targetRef.namespace", namespaceName),
		},
		Claims:            {at("spec.dataSourceRef.namespace", namespaceName)},
		PersistentVolumes: volumePlaces(),
		{Group: admission, Resource: "mutatingwebhookconfigurations"}:     webhookPlaces(),
		{Group: admission, Resource: "validatingwebhookconfigurations"}:   webhookPlaces(),
		{Group: admission, Resource: "mutatingadmissionpolicies"}:         {at("spec.matchConstraints.namespaceSelector", namespaceSelector)},
		{Group: admission, Resource: "validatingadmissionpolicies"}:       {at("spec.matchConstraints.namespaceSelector", namespaceSelector)},
		{Group: admission, Resource: "mutatingadmissionpolicybindings"}:   policyBindingPlaces(),
		{Group: admission, Resource: "validatingadmissionpolicybindings"}: policyBindingPlaces(),
		{Group: aggregation, Resource: "apiservices"}:                     {at("spec.service.namespace", namespaceName)},
		{Group: apiExtensions, Resource: "customresourcedefinitions"}: {
			at("spec.conversion.webhook.clientConfig.service.namespace", namespaceName),
			at("spec.conversion.webhookClientConfig.service.namespace", namespaceName), // v1beta1
		},
		{Group: discovery, Resource: "endpointslices"}: {at("endpoints[].targetRef.namespace", namespaceName)},
		{Group: flowControl, Resource: "flowschemas"}: {
			at("spec.rules[].subjects[].serviceAccount.namespace", namespaceName),
			at("spec.rules[].subjects[].user.name", accountName),
			at("spec.rules[].subjects[].group.name", accountName),
			at("spec.rules[].resourceRules[].namespaces[]", namespaceName),
		},
		{Group: networking, Resource: "ingressclasses"}: {at("spec.parameters.namespace", namespaceName)},
		{Group: networking, Resource: "networkpolicies"}: {
			at("spec.ingress[].from[].namespaceSelector", namespaceSelector),
			at("spec.egress[].to[].namespaceSelector", namespaceSelector),
		},
		{Group: rbac, Resource: "clusterrolebindings"}:                  bindingPlaces(),
		{Group: rbac, Resource: "rolebindings"}:                         bindingPlaces(),
		{Group: rbac, Resource: "clusterroles"}:                         {at("rules[]", ruleAboutNamespaces)},
		{Group: rbac, Resource: "roles"}:                                {at("rules[]", ruleAboutNamespaces)},
		{Group: storage, Resource: "storageclasses"}:                    {at("parameters", secretParameters)},
		{Group: groupSnapshots, Resource: "volumegroupsnapshotclasses"}: {at("parameters", secretParameters)},
		{Group: snapshots, Resource: "volumesnapshotclasses"}:           {at("parameters", secretParameters)},
	}
	for resource, spec := range podSpecs {
		all[resource] = append(all[resource], podSpecPlaces(spec)...)
	}
	for _, resource := range []string{"adminnetworkpolicies", "baselineadminnetworkpolicies", "clusternetworkpolicies"} {
		all[schema.GroupResource{Group: policyNetworking, Resource: resource}] = clusterPolicyPlaces()
	}
	for resource, places := range gatewayPlaces() {
		all[resource] = places
	}
	return all
}

// clusterPolicyPlaces are those of the network policies of a whole cluster.
func clusterPolicyPlaces() []reference {
	var places []reference
	for _, peer := range []string{"spec.subject", "spec.ingress[].from[]", "spec.egress[].to[]"} {
		places = append(places, at(peer+".namespaces", namespaceSelector), at(peer+".pods.namespaceSelector", namespaceSelector))
	}
	return places
}

// volumePlaces are the claim of a volume, and the Secrets and Endpoints that its
// driver uses.
func volumePlaces() []reference {
	places := []reference{
		at("spec.claimRef.namespace", namespaceName),
		at("spec.*.secretRef.namespace", namespaceName), // of drivers in the tree
		at("spec.azureFile.secretNamespace", namespaceName),
		at("spec.glusterfs.endpointsNamespace", namespaceName),
	}
	for _, call := range []string{"controllerExpand", "controllerPublish", "nodeExpand", "nodePublish", "nodeStage"} {
		places = append(places, at("spec.csi."+call+"SecretRef.namespace", namespaceName))
	}
	return places
}

func webhookPlaces() []reference {
	return []reference{
		at("webhooks[].clientConfig.service.namespace", namespaceName),
		at("webhooks[].namespaceSelector", namespaceSelector),
	}
}

func policyBindingPlaces() []reference {
	return []reference{
		at("spec.paramRef.namespace", namespaceName),
		at("spec.matchResources.namespaceSelector", namespaceSelector),
	}
}

func bindingPlaces() []reference {
	return []reference{
		at("subjects[].namespace", namespaceName),
		at("subjects[].name", accountName),
	}
}

// podSpecs are the kinds that hold the spec of pods, and where. The templates of
// a workload and of its ControllerRevisions and ReplicaSets change alike, so
// that the restored pods are still those of the newest revision.
var podSpecs = map[schema.GroupResource]string{
	Pods:                                 "spec",
	{Resource: "podtemplates"}:           "template.spec",
	{Resource: "replicationcontrollers"}: "spec.template.spec",
	{Group: apps, Resource: "controllerrevisions"}: "data.spec.template.spec",
	{Group: apps, Resource: "daemonsets"}:          "spec.template.spec",
	{Group: apps, Resource: "deployments"}:         "spec.template.spec",
	{Group: apps, Resource: "replicasets"}:         "spec.template.spec",
	{Group: apps, Resource: "statefulsets"}:        "spec.template.spec",
	{Group: batch, Resource: "cronjobs"}:           "spec.jobTemplate.spec.template.spec",
	jobs:                                           "spec.template.spec",
}

// podSpecPlaces are the namespaces whose pods a pod wants to be near or far.
func podSpecPlaces(spec string) []reference {
	var places []reference
	for _, affinity := range []string{"podAffinity", "podAntiAffinity"} {
		for _, term := range []string{
			"requiredDuringSchedulingIgnoredDuringExecution[]",
			"preferredDuringSchedulingIgnoredDuringExecution[].podAffinityTerm",
		} {
			path := spec + ".affinity." + affinity + "." + term
			places = append(places, at(path+".namespaces[]", namespaceName), at(path+".namespaceSelector", namespaceSelector))
		}
	}
	return places
}

// gatewayPlaces are those of the Gateway API.
func gatewayPlaces() map[schema.GroupResource][]reference {
	route := []reference{
		at("spec.parentRefs[].namespace", namespaceName),
		at("spec.rules[].backendRefs[].namespace", namespaceName),
		at("spec.rules[].backendRefs[].filters[].requestMirror.backendRef.namespace", namespaceName),
		at("spec.rules[].filters[].requestMirror.backendRef.namespace", namespaceName),
	}
	listeners := []reference{
		at("spec.listeners[].allowedRoutes.namespaces.selector", namespaceSelector),
		at("spec.listeners[].tls.certificateRefs[].namespace", namespaceName),
	}
	all := map[schema.GroupResource][]reference{
		{Group: gateway, Resource: "gateways"}:        listeners,
		{Group: gateway, Resource: "listenersets"}:    append(listeners[:2:2], at("spec.parentRef.namespace", namespaceName)),
		{Group: gateway, Resource: "gatewayclasses"}:  {at("spec.parametersRef.namespace", namespaceName)},
		{Group: gateway, Resource: "referencegrants"}: {at("spec.from[].namespace", namespaceName)},
	}
	for _, resource := range []string{"grpcroutes", "httproutes", "tcproutes", "tlsroutes", "udproutes"} {
		all[schema.GroupResource{Group: gateway, Resource: resource}] = route
	}
	return all
}

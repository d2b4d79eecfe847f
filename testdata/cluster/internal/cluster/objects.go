package cluster

import (
	"context"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/api"
)

type object = map[string]any

// applied is an object that a full cluster starts with, and where it goes.
type applied struct {
	path   string
	object object
}

const rbacPath = "/apis/rbac.authorization.k8s.io/v1/"

// objects are the rights of components that Kubernetes knows nothing of, and
// the service by which pods find the DNS server.
func (p plan) objects() []applied {
	const system = "kube-system"
	return []applied{
		{rbacPath + "clusterroles/" + dnsUser, dnsRole()},
		bindUser(dnsUser, dnsUser),
		bindUser("system:kubelet-api-admin", kubeletClientUser),
		{"/api/v1/namespaces/" + system + "/services/kube-dns", dnsService()},
		{"/apis/discovery.k8s.io/v1/namespaces/" + system + "/endpointslices/kube-dns", p.dnsEndpoints()},
	}
}

func (p plan) applyObjects(ctx context.Context, c *api.Client) error {
	for _, o := range p.objects() {
		if err := c.Apply(ctx, o.path, o.object); err != nil {
			return err
		}
	}
	return nil
}

func dnsRole() object {
	watch := []string{"list", "watch"}
	return object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": object{"name": dnsUser},
		"rules": []object{
			{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": watch},
			{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": watch},
		},
	}
}

// bindUser gives a user a cluster role; the binding is called by the user.
func bindUser(role, user string) applied {
	const group = "rbac.authorization.k8s.io"
	return applied{rbacPath + "clusterrolebindings/" + user, object{
		"apiVersion": group + "/v1", "kind": "ClusterRoleBinding", "metadata": object{"name": user},
		"roleRef":  object{"apiGroup": group, "kind": "ClusterRole", "name": role},
		"subjects": []object{{"apiGroup": group, "kind": "User", "name": user}},
	}}
}

func dnsService() object {
	port := func(name, protocol string) object {
		return object{"name": name, "protocol": protocol, "port": dnsPort, "targetPort": dnsPort}
	}
	return object{
		"apiVersion": "v1", "kind": "Service",
		"metadata": object{"name": "kube-dns", "namespace": "kube-system", "labels": object{"k8s-app": "kube-dns"}},
		"spec": object{
			"clusterIP": serviceAddress(10).String(),
			"ports":     []object{port("dns", "UDP"), port("dns-tcp", "TCP")},
		},
	}
}

// dnsEndpoints points the service, which has no selector, at the DNS server,
// which is no pod.
func (p plan) dnsEndpoints() object {
	port := func(name, protocol string) object {
		return object{"name": name, "protocol": protocol, "port": dnsPort}
	}
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
		"metadata": object{
			"name": "kube-dns", "namespace": "kube-system",
			"labels": object{"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "testbed"},
		},
		"addressType": "IPv4",
		"ports":       []object{port("dns", "UDP"), port("dns-tcp", "TCP")},
		"endpoints":   []object{{"addresses": []string{p.record.Address.String()}, "conditions": object{"ready": true}}},
	}
}

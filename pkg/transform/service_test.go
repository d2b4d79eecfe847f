package transform_test

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func TestService(t *testing.T) {
	t.Parallel()
	const (
		applied = `
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"spec":{"ports":[{"name":"http","nodePort":31234,"port":80},{"name":"text","nodePort":"31235","port":82},{"name":"auto","port":81}]}}
spec:
  type: NodePort
  ports:
  - {name: http, port: 80, nodePort: 31234}
  - {name: text, port: 82, nodePort: 31235}
  - {name: auto, port: 81, nodePort: 32204}
`
		managed = `
metadata:
  managedFields:
  - manager: kubectl
    operation: Update
    fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}, "f:port": {}}, 'k:{"port":80,"protocol":"UDP"}': {"f:port": {}}}}}
spec:
  type: NodePort
  ports:
  - {name: a, port: 80, protocol: TCP, nodePort: 31234}
  - {name: b, port: 80, protocol: UDP, nodePort: 31234}
`
		local = `spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 31204, ports: [{port: 443, nodePort: 32601}]}`
	)
	run(t, []testCase{{
		name: "address given anew", resource: "services",
		in:   `spec: {type: ClusterIP, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ports: [{port: 80}]}`,
		want: `spec: {type: ClusterIP, ports: [{port: 80}]}`,
	}, {
		name: "headless stays", resource: "services",
		in: `spec: {type: ClusterIP, clusterIP: None, clusterIPs: [None], ports: [{port: 80}]}`,
	}, {
		name: "external name stays", resource: "services",
		in: `spec: {type: ExternalName, externalName: example.com, clusterIP: x}`,
	}, {
		name: "node ports that were applied stay", resource: "services", in: applied,
		want: `
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"spec":{"ports":[{"name":"http","nodePort":31234,"port":80},{"name":"text","nodePort":"31235","port":82},{"name":"auto","port":81}]}}
spec:
  type: NodePort
  ports:
  - {name: http, port: 80, nodePort: 31234}
  - {name: text, port: 82, nodePort: 31235}
  - {name: auto, port: 81}
`,
	}, {
		name: "a port without name is found by number", resource: "services",
		in: `
metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":[{"port":80,"nodePort":31234}]}}'}}
spec: {type: NodePort, ports: [{port: 80, nodePort: 31234}]}
`,
	}, {
		name: "node ports that somebody owns stay", resource: "services", in: managed,
		want: `
metadata:
  managedFields:
  - manager: kubectl
    operation: Update
    fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}, "f:port": {}}, 'k:{"port":80,"protocol":"UDP"}': {"f:port": {}}}}}
spec:
  type: NodePort
  ports:
  - {name: a, port: 80, protocol: TCP, nodePort: 31234}
  - {name: b, port: 80, protocol: UDP}
`,
	}, {
		name: "all ports kept on demand", resource: "services", in: local,
		options: func(o *transform.Options) { o.PreserveNodePorts = true },
	}, {
		name: "health check port given anew", resource: "services", in: local,
		want: `spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 443}]}`,
	}, {
		name: "health check port applied", resource: "services",
		in: `
metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"healthCheckNodePort":31204}}'}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 31204}
`,
	}, {
		name: "health check port owned", resource: "services",
		in: `
metadata: {managedFields: [{operation: Update, fieldsV1: {"f:spec": {"f:healthCheckNodePort": {}}}}]}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 31204}
`,
	}, {
		name: "health check port not applied but owned", resource: "services",
		in: `
metadata:
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{}}'}
  managedFields: [{operation: Update, fieldsV1: {"f:spec": {"f:healthCheckNodePort": {}}}}]
spec: {type: LoadBalancer, externalTrafficPolicy: Local, healthCheckNodePort: 31204}
`,
	}, {
		name: "health check port of another policy is none of ours", resource: "services",
		in: `spec: {type: LoadBalancer, externalTrafficPolicy: Cluster, healthCheckNodePort: 31204}`,
	}, {
		name: "what was applied beats what is owned", resource: "services",
		in: `
metadata:
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":[{"port":80}]}}'}
  managedFields: [{fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}}}}}}]
spec: {type: NodePort, ports: [{port: 80, protocol: TCP, nodePort: 31234}]}
`,
		want: `
metadata:
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":{"ports":[{"port":80}]}}'}
  managedFields: [{fieldsV1: {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}}}}}}]
spec: {type: NodePort, ports: [{port: 80, protocol: TCP}]}
`,
	}, {
		name: "an annotation that can't be read is told", resource: "services", problems: 1,
		in: `
metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":'}}
spec: {type: NodePort, ports: [{port: 80, nodePort: 31234}]}
`,
		want: `
metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"spec":'}}
spec: {type: NodePort, ports: [{port: 80}]}
`,
	}, {
		name: "managed fields that can't be read are told", resource: "services", problems: 1,
		in:   `{metadata: {managedFields: text}, spec: {ports: [{port: 80, nodePort: 31234}]}}`,
		want: `{metadata: {managedFields: text}, spec: {ports: [{port: 80}]}}`,
	}, {
		name: "two families where there are two", resource: "services",
		in:   `spec: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6, IPv4], clusterIP: "fd00::1", clusterIPs: ["fd00::1", 10.0.0.1]}`,
		want: `spec: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv6]}`,
	}, {
		name: "two families at any rate", resource: "services",
		in:   `spec: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, "fd00::1"]}`,
		want: `spec: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv4, IPv6]}`,
	}, {
		name: "one family", resource: "services",
		in: `spec: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]}`,
	}, {
		name: "fields of the wrong type are left to the API server", resource: "services",
		in:   `spec: {type: 1, ports: [1, {nodePort: {}}], ipFamilies: text, ipFamilyPolicy: PreferDualStack}`,
		want: `spec: {type: 1, ports: [1, {}], ipFamilies: text, ipFamilyPolicy: PreferDualStack}`,
	}, {
		name: "of the API server", resource: "services",
		in:       `{metadata: {name: kubernetes, namespace: default}, spec: {}}`,
		decision: transform.Decision{Skip: "the API server makes it by itself"},
	}, {
		name: "of the same name elsewhere", resource: "services",
		in: `{metadata: {name: kubernetes, namespace: other}, spec: {}}`,
	}})
}

func TestAddressesOfServices(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "given by the API server", resource: "ipaddresses.networking.k8s.io",
		in:       `{metadata: {labels: {ipaddress.kubernetes.io/managed-by: ipallocator.k8s.io}}, spec: {}}`,
		decision: transform.Decision{Skip: "the API server gives addresses to Services"},
	}, {
		name: "reserved by hand", resource: "ipaddresses.networking.k8s.io",
		in: `spec: {parentRef: {resource: gateways, name: g}}`,
	}, {
		name: "range of the API server", resource: "servicecidrs.networking.k8s.io",
		in:       `{metadata: {name: kubernetes}, spec: {cidrs: [10.96.0.0/12]}}`,
		decision: transform.Decision{Skip: "the API server makes it by itself"},
	}, {
		name: "range added by hand", resource: "servicecidrs.networking.k8s.io",
		in: `spec: {cidrs: [10.112.0.0/16]}`,
	}})
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	computed := transform.Decision{Skip: "the cluster computes the addresses of a Service's pods"}
	run(t, []testCase{{
		name: "of a controller", resource: "endpoints", decision: computed,
		in: `{metadata: {labels: {endpoints.kubernetes.io/managed-by: endpoint-controller}}}`,
	}, {
		name: "of a controller before 1.33", resource: "endpoints", decision: computed,
		in: `{metadata: {annotations: {endpoints.kubernetes.io/last-change-trigger-time: "2026-11-22T16:30:01Z"}}}`,
	}, {
		name: "written by hand", resource: "endpoints",
		in: `{subsets: [{addresses: [{ip: 192.0.2.1}]}]}`,
	}, {
		name: "slice of a controller", resource: "endpointslices.discovery.k8s.io", decision: computed,
		in: `{metadata: {labels: {endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}}`,
	}, {
		name: "mirrored slice", resource: "endpointslices.discovery.k8s.io", decision: computed,
		in: `{metadata: {labels: {endpointslice.kubernetes.io/managed-by: endpointslicemirroring-controller.k8s.io}}}`,
	}, {
		name: "of the API server", resource: "endpoints", decision: computed,
		in: `{metadata: {name: kubernetes, namespace: default}, subsets: [{addresses: [{ip: 192.0.2.1}]}]}`,
	}, {
		name: "slice of the API server", resource: "endpointslices.discovery.k8s.io", decision: computed,
		in: `{metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}}`,
	}, {
		name: "slice written by hand", resource: "endpointslices.discovery.k8s.io",
		in: `{metadata: {labels: {kubernetes.io/service-name: s}}, addressType: IPv4, endpoints: [{addresses: [192.0.2.1]}]}`,
	}})
}

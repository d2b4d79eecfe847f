package transform_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// references are objects in which FROM stands wherever a namespace is named that
// must be followed, and KEPT where it only looks like one.
var references = []struct{ name, resource, object string }{{
	name: "subjects", resource: "rolebindings.rbac.authorization.k8s.io", object: `
subjects:
- {kind: ServiceAccount, namespace: FROM, name: KEPT}
- {kind: User, name: "system:serviceaccount:FROM:web"}
- {kind: User, name: "system:serviceaccount:KEPTx:web"}
- {kind: User, name: "system:serviceaccount:KEPT"}
- {kind: User, name: KEPT}
- {kind: Group, name: "system:serviceaccounts:FROM"}
- {kind: Group, name: "system:serviceaccounts"}
- {kind: Group, name: 1}
- KEPT
`}, {
	name: "subjects of the whole cluster", resource: "clusterrolebindings.rbac.authorization.k8s.io",
	object: `subjects: [{kind: ServiceAccount, namespace: FROM, name: web}]`,
}, {
	name: "rules about Namespaces", resource: "clusterroles.rbac.authorization.k8s.io", object: `
rules:
- {resources: [namespaces, namespaces/finalize], resourceNames: [FROM, other], verbs: [get]}
- {resources: [namespaces, configmaps], resourceNames: [KEPT], verbs: [get]}
- {resources: [configmaps], resourceNames: [KEPT], verbs: [get]}
- {nonResourceURLs: [KEPT], resourceNames: [KEPT], verbs: [get]}
`}, {
	name: "rules in a namespace", resource: "roles.rbac.authorization.k8s.io",
	object: `rules: [{resources: [namespaces], resourceNames: [FROM]}]`,
}, {
	name: "webhooks", resource: "mutatingwebhookconfigurations.admissionregistration.k8s.io", object: `
apiVersion: admissionregistration.k8s.io/v1
metadata: {annotations: {cert-manager.io/inject-ca-from: FROM/cert, example.com/owner: KEPT/cert}}
webhooks:
- name: a
  sideEffects: None
  clientConfig: {service: {namespace: FROM, name: KEPT}}
  namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: FROM, app: KEPT}
    matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: [FROM, other, 1]}
    - {key: app, operator: In, values: [KEPT]}
    - KEPT
`}, {
	name: "validating webhooks of v1beta1", resource: "validatingwebhookconfigurations.admissionregistration.k8s.io",
	object: `{apiVersion: admissionregistration.k8s.io/v1beta1, webhooks: [{clientConfig: {service: {namespace: FROM}}}]}`,
}, {
	name: "admission policy", resource: "validatingadmissionpolicies.admissionregistration.k8s.io",
	object: `spec: {matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}`,
}, {
	name: "admission policy binding", resource: "validatingadmissionpolicybindings.admissionregistration.k8s.io",
	object: `spec: {paramRef: {name: KEPT, namespace: FROM}, matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}`,
}, {
	name: "mutating admission policy", resource: "mutatingadmissionpolicies.admissionregistration.k8s.io",
	object: `spec: {matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}`,
}, {
	name: "mutating admission policy binding", resource: "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
	object: `spec: {paramRef: {namespace: FROM}, matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}`,
}, {
	name: "conversion webhook", resource: "customresourcedefinitions.apiextensions.k8s.io",
	object: `spec: {group: KEPT, conversion: {webhook: {clientConfig: {service: {namespace: FROM, name: KEPT}}}}}`,
}, {
	name: "conversion webhook of v1beta1", resource: "customresourcedefinitions.apiextensions.k8s.io",
	object: `spec: {conversion: {webhookClientConfig: {service: {namespace: FROM}}}}`,
}, {
	name: "APIService", resource: "apiservices.apiregistration.k8s.io",
	object: `spec: {group: KEPT, service: {namespace: FROM, name: KEPT}}`,
}, {
	name: "volume", resource: "persistentvolumes", object: `
metadata: {annotations: {volume.kubernetes.io/provisioner-deletion-secret-namespace: FROM}}
spec:
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: FROM, name: KEPT}
  csi:
    driver: KEPT
    volumeAttributes: {namespace: KEPT}
    controllerExpandSecretRef: {name: KEPT, namespace: FROM}
    controllerPublishSecretRef: {name: KEPT, namespace: FROM}
    nodeExpandSecretRef: {name: KEPT, namespace: FROM}
    nodePublishSecretRef: {name: KEPT, namespace: FROM}
    nodeStageSecretRef: {name: KEPT, namespace: FROM}
`}, {
	name: "volumes of drivers in the tree", resource: "persistentvolumes", object: `
spec:
  persistentVolumeReclaimPolicy: Retain
  azureFile: {secretName: KEPT, secretNamespace: FROM}
  cephfs: {secretRef: {name: KEPT, namespace: FROM}}
  flexVolume: {secretRef: {name: KEPT, namespace: FROM}}
  glusterfs: {endpoints: KEPT, endpointsNamespace: FROM}
  iscsi: {secretRef: {name: KEPT, namespace: FROM}}
  rbd: {secretRef: {name: KEPT, namespace: FROM}}
  scaleIO: {secretRef: {name: KEPT, namespace: FROM}}
  storageos: {secretRef: {name: KEPT, namespace: FROM}, volumeNamespace: KEPT}
`}, {
	name: "claim", resource: "persistentvolumeclaims",
	object: `spec: {dataSourceRef: {kind: PersistentVolumeClaim, name: KEPT, namespace: FROM}}`,
}, {
	name: "storage class", resource: "storageclasses.storage.k8s.io", object: `
parameters:
  csi.storage.k8s.io/provisioner-secret-name: KEPT
  csi.storage.k8s.io/provisioner-secret-namespace: FROM
  csi.storage.k8s.io/node-stage-secret-namespace: "${pvc.namespace}"
  adminSecretNamespace: FROM
  pool: KEPT
`}, {
	name: "snapshot class", resource: "volumesnapshotclasses.snapshot.storage.k8s.io",
	object: `parameters: {csi.storage.k8s.io/snapshotter-secret-namespace: FROM}`,
}, {
	name: "group snapshot class", resource: "volumegroupsnapshotclasses.groupsnapshot.storage.k8s.io",
	object: `parameters: {csi.storage.k8s.io/group-snapshotter-secret-namespace: FROM}`,
}, {
	name: "network policy of the cluster", resource: "clusternetworkpolicies.policy.networking.k8s.io", object: `
spec:
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: FROM}}}
  ingress: [{from: [{pods: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}, podSelector: {}}}]}]
  egress: [{to: [{namespaces: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [FROM]}]}}]}]
`}, {
	name: "endpoints", resource: "endpoints", object: `
subsets:
- addresses: [{ip: 192.0.2.1, targetRef: {kind: Pod, namespace: FROM, name: KEPT}}]
  notReadyAddresses: [{targetRef: {namespace: FROM}}]
`}, {
	name: "endpoint slice", resource: "endpointslices.discovery.k8s.io",
	object: `endpoints: [{targetRef: {kind: Pod, namespace: FROM, name: KEPT}}]`,
}, {
	name: "network policy", resource: "networkpolicies.networking.k8s.io", object: `
spec:
  podSelector: {matchLabels: {kubernetes.io/metadata.name: KEPT}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}, {ipBlock: {cidr: 192.0.2.0/24}}]}]
  egress: [{to: [{namespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [FROM]}]}}]}]
`}, {
	name: "ingress class", resource: "ingressclasses.networking.k8s.io",
	object: `spec: {controller: KEPT, parameters: {kind: IngressParameters, name: KEPT, namespace: FROM}}`,
}, {
	name: "ingress", resource: "ingresses.networking.k8s.io", object: `
metadata: {annotations: {nginx.ingress.kubernetes.io/auth-tls-secret: FROM/ca, nginx.ingress.kubernetes.io/auth-secret: KEPT}}
spec: {rules: [{host: KEPT}]}
`}, {
	name: "flow schema", resource: "flowschemas.flowcontrol.apiserver.k8s.io", object: `
spec:
  rules:
  - subjects:
    - {kind: ServiceAccount, serviceAccount: {namespace: FROM, name: KEPT}}
    - {kind: User, user: {name: "system:serviceaccount:FROM:web"}}
    - {kind: Group, group: {name: "system:serviceaccounts:FROM"}}
    resourceRules: [{resources: [KEPT], namespaces: [FROM, "*"]}]
`}, {
	name: "route", resource: "httproutes.gateway.networking.k8s.io", object: `
spec:
  parentRefs: [{name: KEPT, namespace: FROM}, {name: KEPT}]
  rules:
  - filters: [{requestMirror: {backendRef: {name: KEPT, namespace: FROM}}}]
    backendRefs: [{name: KEPT, namespace: FROM, filters: [{requestMirror: {backendRef: {namespace: FROM}}}]}]
`}, {
	name: "gateway", resource: "gateways.gateway.networking.k8s.io", object: `
spec:
  listeners:
  - name: KEPT
    tls: {certificateRefs: [{name: KEPT, namespace: FROM}]}
    allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}
`}, {
	name: "listener set", resource: "listenersets.gateway.networking.k8s.io",
	object: `spec: {parentRef: {namespace: FROM}, listeners: [{tls: {certificateRefs: [{namespace: FROM}]}}]}`,
}, {
	name: "reference grant", resource: "referencegrants.gateway.networking.k8s.io",
	object: `spec: {from: [{kind: HTTPRoute, namespace: FROM}], to: [{kind: Service, name: KEPT}]}`,
}, {
	name: "gateway class", resource: "gatewayclasses.gateway.networking.k8s.io",
	object: `spec: {parametersRef: {name: KEPT, namespace: FROM}}`,
}, {
	name: "escapes in the same field", resource: "apiservices.apiregistration.k8s.io",
	object: `spec: {service: {namespace: FROM}, note: "\\"}`,
}, {
	name: "a kind that nobody knows", resource: "widgets.example.com",
	object: `{metadata: {annotations: {cert-manager.io/inject-ca-from: FROM/c}}, spec: {namespace: KEPT, serviceRef: {namespace: KEPT}}}`,
}}

// affinity is where a pod names namespaces of other pods.
const affinity = `{
podAffinity: {
  requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: KEPT, namespaces: [FROM, other], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}],
  preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {namespaces: [FROM], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}]},
podAntiAffinity: {
  requiredDuringSchedulingIgnoredDuringExecution: [{namespaces: [FROM]}],
  preferredDuringSchedulingIgnoredDuringExecution: [{podAffinityTerm: {namespaces: [FROM], namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: FROM}}}}]}}`

// podSpecs are the kinds that hold the spec of pods, as formats.
var podSpecs = map[string]string{
	"pods":                     `spec: %s`,
	"podtemplates":             `template: {spec: %s}`,
	"replicationcontrollers":   `spec: {template: {spec: %s}}`,
	"controllerrevisions.apps": `data: {spec: {template: {$patch: replace, spec: %s}}}`,
	"daemonsets.apps":          `spec: {template: {spec: %s}}`,
	"deployments.apps":         `spec: {template: {spec: %s}}`,
	"replicasets.apps":         `spec: {template: {spec: %s}}`,
	"statefulsets.apps":        `spec: {template: {spec: %s}}`,
	"jobs.batch":               `spec: {template: {spec: %s}}`,
	"cronjobs.batch":           `spec: {jobTemplate: {spec: {template: {spec: %s}}}}`,
}

func TestReferencesFollow(t *testing.T) {
	t.Parallel()
	cases := references
	for resource, format := range podSpecs {
		spec := `{containers: [{name: KEPT, image: KEPT}], affinity: ` + affinity + `}`
		cases = append(cases, struct{ name, resource, object string }{
			name: "affinity of " + resource, resource: resource,
			object: "apiVersion: v1\n" + strings.ReplaceAll(format, "%s", spec),
		})
	}
	for mapping, swapped := range map[string]map[string]string{
		"moved":   {"shop": "shop2"},
		"swapped": {"shop": "shop2", "shop2": "shop"}, // nothing is followed twice
	} {
		for _, tc := range cases {
			t.Run(mapping+" "+tc.name, func(t *testing.T) {
				t.Parallel()
				filled := func(from string) string {
					return strings.NewReplacer("FROM", from, "KEPT", "shop").Replace(tc.object)
				}
				opts := options(func(o *transform.Options) { o.NamespaceMapping = swapped })
				obj := parse(t, filled("shop"))
				if _, err := transform.New(opts).Apply(schema.ParseGroupResource(tc.resource), obj); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(decode(t, toJSON(t, filled("shop2"))), encode(t, obj)); diff != "" {
					t.Errorf("object (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestNothingFollowsWithoutMapping(t *testing.T) {
	t.Parallel()
	for name, mapping := range map[string]map[string]string{
		"none": nil, "another": {"absent": "elsewhere"}, "the same": {"shop": "shop"}, "nothing": {"shop": ""}, "from nothing": {"": "elsewhere"},
	} {
		opts := options(func(o *transform.Options) { o.NamespaceMapping = mapping })
		transformer := transform.New(opts)
		for _, tc := range references {
			in := strings.NewReplacer("FROM", "shop", "KEPT", "shop").Replace(tc.object)
			obj := parse(t, in)
			if _, err := transformer.Apply(schema.ParseGroupResource(tc.resource), obj); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(decode(t, toJSON(t, in)), encode(t, obj)); diff != "" {
				t.Errorf("%s with mapping of %s (-want +got):\n%s", tc.name, name, diff)
			}
		}
	}
}

func TestEscapedNamespacesFollow(t *testing.T) {
	t.Parallel()
	obj, err := transform.Parse([]byte(`{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"x"},"spec":{"service":{"namespace":"\u0073hop"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transform.New(options()).Apply(schema.ParseGroupResource("apiservices.apiregistration.k8s.io"), obj); err != nil {
		t.Fatal(err)
	}
	var spec struct{ Service struct{ Namespace string } }
	if err := obj.Read("spec", &spec); err != nil || spec.Service.Namespace != "shop2" {
		t.Errorf("namespace %q, error %v", spec.Service.Namespace, err)
	}
}

// A mapping of many namespaces takes another way to find objects that name one.
func TestManyNamespacesFollow(t *testing.T) {
	t.Parallel()
	mapping := map[string]string{"shop": "shop2"}
	for _, a := range "abcdefgh" {
		for _, b := range "abcdefgh" {
			mapping[string(a)+string(b)] = "elsewhere"
		}
	}
	opts := options(func(o *transform.Options) { o.NamespaceMapping = mapping })
	obj := parse(t, `subjects: [{kind: ServiceAccount, namespace: shop, name: web}]`)
	if _, err := transform.New(opts).Apply(schema.ParseGroupResource("rolebindings.rbac.authorization.k8s.io"), obj); err != nil {
		t.Fatal(err)
	}
	want := decode(t, toJSON(t, `subjects: [{kind: ServiceAccount, namespace: shop2, name: web}]`))
	if diff := cmp.Diff(want, encode(t, obj)); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
}

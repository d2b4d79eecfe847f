package transform_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func replace(text, from, to string) string { return strings.ReplaceAll(text, from, to) }

func TestCustomResourceDefinition(t *testing.T) {
	t.Parallel()
	const resource = "customresourcedefinitions.apiextensions.k8s.io"
	run(t, []testCase{{
		name: "preserveUnknownFields moves into the schemas", resource: resource,
		in: `
apiVersion: apiextensions.k8s.io/v1
spec:
  preserveUnknownFields: true
  versions: [{name: v1, schema: {openAPIV3Schema: {type: object}}}, {name: v2}]
`,
		want: `
apiVersion: apiextensions.k8s.io/v1
spec:
  preserveUnknownFields: false
  versions: [{name: v1, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}, {name: v2}]
`,
	}, {
		name: "false stays", resource: resource,
		in: `{apiVersion: apiextensions.k8s.io/v1, spec: {preserveUnknownFields: false, versions: [{name: v1, schema: {openAPIV3Schema: {}}}]}}`,
	}, {
		name: "conversion webhook mapped", resource: resource,
		in:   `{apiVersion: apiextensions.k8s.io/v1, spec: {conversion: {webhook: {clientConfig: {service: {namespace: shop, name: s}}}}}}`,
		want: `{apiVersion: apiextensions.k8s.io/v1, spec: {conversion: {webhook: {clientConfig: {service: {namespace: shop2, name: s}}}}}}`,
	}})
}

func TestWebhookConfiguration(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"} {
		run(t, []testCase{{
			name: kind, resource: kind + ".admissionregistration.k8s.io",
			in: `
apiVersion: admissionregistration.k8s.io/v1
webhooks:
- {name: a, sideEffects: Unknown, clientConfig: {service: {namespace: shop, name: s}}}
- {name: b, sideEffects: NoneOnDryRun, clientConfig: {url: "https://example.com"}}
- {name: c, sideEffects: None}
- {name: d}
`,
			want: `
apiVersion: admissionregistration.k8s.io/v1
webhooks:
- {name: a, sideEffects: None, clientConfig: {service: {namespace: shop2, name: s}}}
- {name: b, sideEffects: NoneOnDryRun, clientConfig: {url: "https://example.com"}}
- {name: c, sideEffects: None}
- {name: d, sideEffects: None}
`,
		}, {
			name: kind + " v1beta1", resource: kind + ".admissionregistration.k8s.io",
			in: `{apiVersion: admissionregistration.k8s.io/v1beta1, webhooks: [{name: a, sideEffects: Unknown}]}`,
		}})
	}
}

func TestAPIService(t *testing.T) {
	t.Parallel()
	const resource = "apiservices.apiregistration.k8s.io"
	run(t, []testCase{{
		name: "of the API server", resource: resource,
		in:       `{metadata: {labels: {kube-aggregator.kubernetes.io/automanaged: onstart}}}`,
		decision: transform.Decision{Skip: "the API server makes it by itself"},
	}, {
		name: "of an extension", resource: resource,
		in:   `{spec: {group: g, service: {namespace: shop, name: s}}}`,
		want: `{spec: {group: g, service: {namespace: shop2, name: s}}}`,
	}})
}

func TestBinding(t *testing.T) {
	t.Parallel()
	const subjects = `
subjects:
- {kind: ServiceAccount, namespace: shop, name: web}
- {kind: ServiceAccount, namespace: other, name: web}
- {kind: User, name: ann}
`
	for _, kind := range []string{"rolebindings", "clusterrolebindings"} {
		run(t, []testCase{{
			name: kind, resource: kind + ".rbac.authorization.k8s.io",
			in: subjects, want: replace(subjects, "shop", "shop2"),
		}, {
			name: kind + " without mapping", resource: kind + ".rbac.authorization.k8s.io", in: subjects,
			options: func(o *transform.Options) { o.NamespaceMapping = nil },
		}})
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	obj := parse(t, `
metadata:
  name: shop
  uid: u
  labels: {kubernetes.io/metadata.name: shop, team: checkout}
  annotations: {example.com/note: kept}
  finalizers: [example.com/hold]
  managedFields: [{manager: m}]
spec: {finalizers: [kubernetes]}
status: {phase: Active}
`)
	transform.Namespace(obj, "shop2")
	body, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := toJSON(t, `
metadata:
  name: shop2
  labels: {kubernetes.io/metadata.name: shop2, team: checkout}
  annotations: {example.com/note: kept}
spec: {finalizers: [kubernetes]}
`)
	if diff := cmp.Diff(decode(t, want), decode(t, body)); diff != "" {
		t.Errorf("namespace (-want +got):\n%s", diff)
	}
}

func TestOurselves(t *testing.T) {
	t.Parallel()
	ours := transform.Decision{Skip: "it belongs to an installation of Velero"}
	record := transform.Decision{Skip: "it records work of the cluster that was backed up"}
	const installed = `{metadata: {namespace: velero, labels: {component: velero}}, spec: {}}`
	cases := []testCase{{
		name: "a binding of ours", resource: "clusterrolebindings.rbac.authorization.k8s.io", decision: ours,
		in: `{metadata: {labels: {component: velero}}}`,
	}, {
		name: "an operation's Job elsewhere", resource: "jobs.batch", decision: ours,
		in: `{metadata: {namespace: tenant, labels: {kubectl-velero.io/operation: backup}}}`,
	}, {
		name: "someone else's Job", resource: "jobs.batch",
		in: `{metadata: {namespace: velero}, spec: {}}`,
	}, {
		name: "the same label elsewhere", resource: "cronjobs.batch",
		in: `{metadata: {namespace: other, labels: {component: velero}}}`,
	}, {
		name: "a Schedule comes back paused", resource: "schedules.velero.io", problems: 1,
		in: `{spec: {schedule: "@daily"}}`, want: `{spec: {schedule: "@daily", paused: true}}`,
	}, {
		name: "a request to delete a backup", resource: "deletebackuprequests.velero.io", decision: record, in: `{}`,
	}, {
		name: "a location", resource: "backupstoragelocations.velero.io", in: `{spec: {provider: aws}}`,
	}}
	for _, resource := range []string{"jobs.batch", "cronjobs.batch", "leases.coordination.k8s.io", "podtemplates", "pods", "rolebindings.rbac.authorization.k8s.io"} {
		cases = append(cases, testCase{name: "installed " + resource, resource: resource, in: installed, decision: ours})
	}
	run(t, cases)
}

//go:build integration

package transform_test

import (
	"encoding/json"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// server is an API server with what the objects of the tests refer to.
type server struct {
	*testing.T
	client dynamic.Interface
}

func newServer(t *testing.T) *server {
	client, err := dynamic.NewForConfig(testenv.APIServer(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t, client}
	for resource, object := range map[string]string{
		"namespaces":                           `{apiVersion: v1, kind: Namespace, metadata: {name: transformed}}`,
		"runtimeclasses.v1.node.k8s.io":        `{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: kata}, handler: kata, overhead: {podFixed: {cpu: 100m}}}`,
		"priorityclasses.v1.scheduling.k8s.io": `{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: shop-high}, value: 1000}`,
	} {
		s.exists(s.create(resource, toJSON(t, object)))
	}
	s.exists(s.create("serviceaccounts", toJSON(t, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: transformed}}`)))
	return s
}

// exists fails unless an object was created or is there from an earlier test.
func (s *server) exists(err error) {
	s.Helper()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		s.Fatal(err)
	}
}

// create makes an object; resource is resource.version.group, or a resource of
// v1.
func (s *server) create(resource string, body []byte, dryRun ...string) error {
	s.Helper()
	gvr := schema.GroupVersionResource{Version: "v1", Resource: resource}
	if full, _ := schema.ParseResourceArg(resource); full != nil {
		gvr = *full
	}
	var object unstructured.Unstructured
	if err := json.Unmarshal(body, &object.Object); err != nil {
		s.Fatal(err)
	}
	_, err := s.client.Resource(gvr).Namespace(object.GetNamespace()).Create(s.Context(), &object, metav1.CreateOptions{DryRun: dryRun})
	return err
}

// TestAPIServerRefusesWhatIsRemoved proves that each change is needed and
// enough: the API server takes the object with it, and not without.
func TestAPIServerRefusesWhatIsRemoved(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for name, tc := range map[string]struct{ resource, object string }{
		"second address family of another cluster": {"services", `
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: transformed}, spec: {ipFamilyPolicy: PreferDualStack, ipFamilies: [IPv4, IPv6], ports: [{port: 80}]}}`},
		"address out of the range": {"services", `
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: transformed}, spec: {clusterIP: 192.0.2.1, clusterIPs: [192.0.2.1], ports: [{port: 80}]}}`},
		"priority of another cluster": {"pods", `
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: transformed}, spec: {priorityClassName: shop-high, priority: 5, containers: [{name: c, image: i}]}}`},
		"preemption policy of another cluster": {"pods", `
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: transformed}, spec: {priorityClassName: shop-high, preemptionPolicy: Never, containers: [{name: c, image: i}]}}`},
		"overhead of another cluster": {"pods", `
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: transformed}, spec: {runtimeClassName: kata, overhead: {cpu: 250m}, containers: [{name: c, image: i}]}}`},
		"ephemeral containers": {"pods", `
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: transformed}, spec: {containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]}}`},
		"UID of a Job": {"jobs.v1.batch", `
{apiVersion: batch/v1, kind: Job, metadata: {name: a, namespace: transformed}, spec: {
  selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}},
  template: {metadata: {labels: {batch.kubernetes.io/controller-uid: u}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`},
		"unknown fields of a definition": {"customresourcedefinitions.v1.apiextensions.k8s.io", `
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: as.example.com}, spec: {
  group: example.com, scope: Namespaced, names: {plural: as, singular: a, kind: A}, preserveUnknownFields: true,
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}`},
		"side effects of a webhook": {"validatingwebhookconfigurations.v1.admissionregistration.k8s.io", `
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}, webhooks: [
  {name: a.example.com, sideEffects: Unknown, admissionReviewVersions: [v1], clientConfig: {url: "https://192.0.2.1/"}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := toJSON(t, tc.object)
			if err := s.create(tc.resource, body, metav1.DryRunAll); err == nil {
				t.Error("the API server takes it as it is")
			}
			if err := s.create(tc.resource, s.transformed(t, tc.resource, body), metav1.DryRunAll); err != nil {
				t.Errorf("the API server refuses it after all: %v", err)
			}
		})
	}
}

func (s *server) transformed(t *testing.T, resource string, body []byte) []byte {
	t.Helper()
	gr := schema.GroupResource{Resource: resource}
	if full, _ := schema.ParseResourceArg(resource); full != nil {
		gr = full.GroupResource()
	}
	obj, err := transform.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	opts := options(func(o *transform.Options) { o.NamespaceMapping = nil })
	if decision, err := transform.New(opts).Apply(gr, obj); err != nil || decision.Skip != "" {
		t.Fatalf("decision %+v, error %v", decision, err)
	}
	out, err := obj.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

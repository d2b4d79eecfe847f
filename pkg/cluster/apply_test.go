package cluster_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

var deployment = ref.Object{
	Resource:  schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"},
	Kind:      "Deployment",
	Namespace: "shop", Name: "web",
}

// answer is one response of a server that answers each request with the next.
type answer struct {
	status  int
	headers map[string]string
	body    any
}

// serve returns a Writer and a list that fills with "METHOD PATH BODY".
func serve(t *testing.T, answers ...answer) (*cluster.Writer, *[]string) {
	t.Helper()
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests = append(requests, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+string(body)))
		a := answers[min(len(requests), len(answers))-1]
		w.Header().Set("Content-Type", "application/json")
		for key, value := range a.headers {
			w.Header().Set(key, value)
		}
		w.WriteHeader(a.status)
		if err := json.NewEncoder(w).Encode(a.body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	writer, err := cluster.NewWriter(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return writer, &requests
}

func refused(err *apierrors.StatusError) answer {
	status := err.ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	return answer{status: int(status.Code), body: status}
}

func created() answer {
	return answer{status: http.StatusCreated, body: metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "web", UID: "u1"}}}
}

func TestWriterSendsJSON(t *testing.T) {
	t.Parallel()
	writer, requests := serve(t, created())
	ctx := t.Context()
	uid, err := writer.Create(ctx, deployment, []byte(`{"a":1}`))
	if err != nil || uid != "u1" {
		t.Fatalf("Create = %q, %v", uid, err)
	}
	if _, err := writer.Create(ctx, ref.Object{Resource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, Name: "n"}, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Get(ctx, deployment); err != nil {
		t.Fatal(err)
	}
	colon := ref.Object{Resource: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"}, Name: "system:x"}
	if err := writer.MergePatch(ctx, colon, []byte(`{"b":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Delete(ctx, deployment, "u1", ""); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`POST /apis/apps/v1/namespaces/shop/deployments {"a":1}`,
		`POST /api/v1/namespaces {}`,
		`GET /apis/apps/v1/namespaces/shop/deployments/web`,
		`PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/system:x {"b":2}`,
		`DELETE /apis/apps/v1/namespaces/shop/deployments/web {"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"u1"}}`,
	}
	if diff := cmp.Diff(want, *requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestWriterTriesAgainWhenTheServerIsBusy(t *testing.T) {
	t.Parallel()
	resource := deployment.Resource.GroupResource()
	for _, tc := range []struct {
		name     string
		first    answer
		requests int
		check    func(error) bool
	}{
		{"too many requests", refused(apierrors.NewTooManyRequests("busy", 0)), 2, nil},
		{"with a time to wait", answer{status: 429, headers: map[string]string{"Retry-After": "1"}, body: "busy"}, 2, nil},
		{"unavailable", refused(apierrors.NewServiceUnavailable("starting")), 2, nil},
		{"timeout", refused(apierrors.NewTimeoutError("slow", 0)), 2, nil},
		{"conflict", refused(apierrors.NewConflict(resource, "web", errors.New("x"))), 1, apierrors.IsConflict},
		{"exists", refused(apierrors.NewAlreadyExists(resource, "web")), 1, apierrors.IsAlreadyExists},
		{"not found", refused(apierrors.NewNotFound(resource, "web")), 1, apierrors.IsNotFound},
		{"forbidden", refused(apierrors.NewForbidden(resource, "web", errors.New("no"))), 1, apierrors.IsForbidden},
		{"webhook down", refused(apierrors.NewInternalError(errors.New("failed calling webhook"))), 1, apierrors.IsInternalError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			writer, requests := serve(t, tc.first, created())
			_, err := writer.Create(t.Context(), deployment, []byte(`{}`))
			if len(*requests) != tc.requests {
				t.Errorf("%d requests, want %d", len(*requests), tc.requests)
			}
			if tc.check == nil && err != nil || tc.check != nil && !tc.check(err) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestMayPass(t *testing.T) {
	t.Parallel()
	pods := schema.GroupResource{Resource: "pods"}
	deleting := apierrors.NewAlreadyExists(pods, "x")
	deleting.ErrStatus.Message = `object is being deleted: pods "x" already exists`
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{"kind not served yet", apierrors.NewGenericServerResponse(404, "POST", pods, "", "the server could not find the requested resource", 0, true), true},
		{"conflict", apierrors.NewConflict(pods, "x", errors.New("changed")), true},
		{"webhook not ready", apierrors.NewInternalError(errors.New(`failed calling webhook "w": connection refused`)), true},
		{"quota not counted", apierrors.NewForbidden(pods, "x", errors.New("status unknown for quota: q, resources: pods")), true},
		{"no service account", apierrors.NewForbidden(pods, "x", errors.New(`error looking up service account shop/web: serviceaccount "web" not found`)), true},
		{"no priority class", apierrors.NewForbidden(pods, "x", errors.New("no PriorityClass with name high was found")), true},
		{"namespace on its way out", apierrors.NewForbidden(pods, "x", errors.New("unable to create new content in namespace shop because it is being terminated")), true},
		{"on its way out", deleting, true},
		{"connection refused", syscall.ECONNREFUSED, true},
		{"there", apierrors.NewAlreadyExists(pods, "x"), false},
		{"quota used up", apierrors.NewForbidden(pods, "x", errors.New("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")), false},
		{"no rights", apierrors.NewForbidden(pods, "x", errors.New(`User "u" cannot create resource "pods"`)), false},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "x", nil), false},
		{"denied by a webhook", apierrors.NewBadRequest(`admission webhook "w" denied the request`), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := cluster.MayPass(tc.err); got != tc.want {
				t.Errorf("MayPass(%v) = %t, want %t", tc.err, got, tc.want)
			}
		})
	}
}

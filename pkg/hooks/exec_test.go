package hooks_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// execAt runs a command through the API server at the URL.
func execAt(t *testing.T, url string) error {
	t.Helper()
	e, err := hooks.NewExecutor(&rest.Config{Host: url, UserAgent: "kubectl-velero/test"})
	if err != nil {
		t.Fatal(err)
	}
	return e.Exec(t.Context(), "shop", "web-0", "db", []string{"mysql", "-ps3cr3t"}, io.Discard, io.Discard)
}

// TestExecutorRefused is an API server that makes no connection. The right to
// use websockets is another than that to use SPDY, so that is tried next.
func TestExecutorRefused(t *testing.T) {
	t.Parallel()
	const target = "/api/v1/namespaces/shop/pods/web-0/exec?command=mysql&command=-ps3cr3t&container=db&stderr=true&stdout=true"
	for _, c := range []struct {
		name   string
		status metav1.Status
		asked  []string
		want   string
		is     func(error) bool
	}{
		{
			name:   "pod gone",
			status: metav1.Status{Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: `pods "web-0" not found`},
			asked:  []string{"GET"}, want: `pods "web-0" not found`, is: apierrors.IsNotFound,
		},
		{
			name:   "no such container",
			status: metav1.Status{Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: "container db is not valid for pod web-0"},
			asked:  []string{"GET"}, want: "container db is not valid for pod web-0", is: apierrors.IsBadRequest,
		},
		{
			name:   "forbidden",
			status: metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: `pods "web-0" is forbidden: no`},
			asked:  []string{"GET", "POST"}, want: `unable to upgrade connection: pods "web-0" is forbidden: no`,
		},
		{
			name:   "a kubelet's error",
			status: metav1.Status{Code: http.StatusInternalServerError, Message: `container not found ("db")`},
			asked:  []string{"GET", "POST"}, want: `unable to upgrade connection: container not found ("db")`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Method)
				if r.URL.String() != target || r.UserAgent() != "kubectl-velero/test" {
					t.Errorf("asked for %s as %s", r.URL, r.UserAgent())
				}
				c.status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
				c.status.Status = metav1.StatusFailure
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(int(c.status.Code))
				_ = json.NewEncoder(w).Encode(c.status)
			}))
			t.Cleanup(server.Close)
			err := execAt(t, server.URL)
			if err == nil || err.Error() != c.want || c.is != nil && !c.is(err) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// The URL of the request holds the command with its arguments.
func TestExecutorHidesCommand(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(nil)
	refusing.Close()
	dropping := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(dropping.Close)
	// Takes no websockets, and drops what follows.
	halfway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNotImplemented)
	}))
	t.Cleanup(halfway.Close)
	for name, server := range map[string]*httptest.Server{"refusing": refusing, "dropping": dropping, "halfway": halfway} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := execAt(t, server.URL); err == nil || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got %v", err)
			}
		})
	}
}

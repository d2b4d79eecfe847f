package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

var pods = cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: "Pod", Namespaced: true}

// page is a list response with the objects named.
func page(next string, names ...string) string {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = fmt.Sprintf(`{"metadata":{"name":%q}}`, name)
	}
	return fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
}

func list(t *testing.T, handler http.HandlerFunc, opts cluster.ListOptions) ([]string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	lister, err := cluster.NewLister(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	err = lister.List(t.Context(), pods, opts, func(raw []byte) error {
		var object metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &object); err != nil {
			return err
		}
		names = append(names, object.Name)
		return nil
	})
	return names, err
}

func TestListFollowsPages(t *testing.T) {
	t.Parallel()
	var paths []string
	names, err := list(t, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path+"?"+r.URL.Query().Get("labelSelector"))
		if r.URL.Query().Get("continue") == "" {
			fmt.Fprint(w, page("more", "a", "b"))
			return
		}
		fmt.Fprint(w, page("", "c"))
	}, cluster.ListOptions{Namespace: "shop", LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	want := "/api/v1/namespaces/shop/pods?app=web"
	if diff := cmp.Diff([]string{want, want}, paths); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestListRepeatsABrokenPageWithoutRepeatingObjects(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	names, err := list(t, func(w http.ResponseWriter, _ *http.Request) {
		whole := page("", "a", "b", "c")
		if calls.Add(1) == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			fmt.Fprint(w, whole[:len(whole)-25]) // ends inside the last object
			return
		}
		fmt.Fprint(w, whole)
	}, cluster.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestListGivesUpOnAPageThatStaysBroken(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	_, err := list(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		fmt.Fprint(w, page("", "a")[:30])
	}, cluster.ListOptions{Namespace: "shop"})
	if err == nil || !strings.Contains(err.Error(), `list pods in namespace "shop": response broke off`) {
		t.Errorf("error %v", err)
	}
	if calls.Load() != 4 {
		t.Errorf("asked %d times, want 4", calls.Load())
	}
}

func TestListGoesOnAfterTheSnapshotExpired(t *testing.T) {
	t.Parallel()
	stale := 0
	names, err := list(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("continue") {
		case "":
			fmt.Fprint(w, page("old", "a"))
		case "old":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusGone)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"metadata":{"continue":"fresh"}}`)
		case "fresh":
			fmt.Fprint(w, page("", "b"))
		}
	}, cluster.ListOptions{OnStale: func() { stale++ }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, names); diff != "" || stale != 1 {
		t.Errorf("stale %d, names (-want +got):\n%s", stale, diff)
	}
}

func TestListErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"forbidden": {http.StatusForbidden, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"pods is forbidden","reason":"Forbidden","code":403}`, "pods is forbidden"},
		"no list":   {http.StatusOK, `{"items":7}`, "items is 7, not a list"},
		"no object": {http.StatusOK, `[]`, "was expected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := list(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}, cluster.ListOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestListStopsAtTheVisitorsError(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, page("more", "a", "b"))
	}))
	t.Cleanup(server.Close)
	lister, err := cluster.NewLister(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	boom := errors.New("archive full")
	visits := 0
	err = lister.List(t.Context(), pods, cluster.ListOptions{}, func([]byte) error { visits++; return boom })
	if !errors.Is(err, boom) || visits != 1 {
		t.Errorf("error %v after %d visits", err, visits)
	}
}

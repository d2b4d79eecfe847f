package cluster_test

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

var pods = cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: "Pod", Namespaced: true}

// reply is what an API server answers.
type reply struct {
	code   int // 0 means 200
	header http.Header
	body   string
	broken error // what the body ends with; nil for a proper end
	err    error // instead of an answer
}

func (r reply) response(request *http.Request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	end := io.Reader(strings.NewReader(""))
	if r.broken != nil {
		end = failing{r.broken}
	}
	body := io.NopCloser(io.MultiReader(strings.NewReader(r.body), end))
	return &http.Response{StatusCode: cmp.Or(r.code, http.StatusOK), Header: r.header, Body: body, Request: request}, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// server is an API server in memory, so that tests of waits can use a fake
// clock. It notes the queries that it gets.
type server struct {
	answer  func(query url.Values) reply
	mu      sync.Mutex
	queries []url.Values
}

func (s *server) RoundTrip(request *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.queries = append(s.queries, request.URL.Query())
	s.mu.Unlock()
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	return s.answer(request.URL.Query()).response(request)
}

func (s *server) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queries)
}

// script answers the first request with the first reply and so on, the last one
// again and again.
func script(replies ...reply) *server {
	n := 0
	return &server{answer: func(url.Values) reply {
		n++
		return replies[min(n, len(replies))-1]
	}}
}

func (s *server) lister(t *testing.T) *cluster.Lister {
	t.Helper()
	return newLister(t, &rest.Config{Host: "http://api.test", Transport: s})
}

func newLister(t *testing.T, cfg *rest.Config) *cluster.Lister {
	t.Helper()
	lister, err := cluster.NewLister(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return lister
}

// names lists pods and returns the names of those passed on.
func names(t *testing.T, lister *cluster.Lister, opts cluster.ListOptions) ([]string, error) {
	t.Helper()
	var names []string
	err := lister.List(t.Context(), pods, opts, func(o cluster.Object) error {
		names = append(names, o.Name)
		return nil
	})
	return names, err
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// page is a list response with the objects named.
func page(next string, names ...string) string {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = fmt.Sprintf(`{"metadata":{"name":%q}}`, name)
	}
	return fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
}

// failure is an error as the API server tells it.
func failure(code int, reason, message string) reply {
	return reply{code: code, body: fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)}
}

func TestListFollowsPages(t *testing.T) {
	t.Parallel()
	s := script(reply{body: page("more", "a", "b")}, reply{body: page("", "c")})
	type told struct{ Seen, Remaining int }
	var pages []told
	got, err := names(t, s.lister(t), cluster.ListOptions{
		LabelSelector: "app=web", FieldSelector: "spec.nodeName=n1",
		OnPage: func(seen, remaining int) { pages = append(pages, told{seen, remaining}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, got, "a", "b", "c")
	first := url.Values{"limit": {"500"}, "labelSelector": {"app=web"}, "fieldSelector": {"spec.nodeName=n1"}}
	second := url.Values{"limit": {"500"}, "labelSelector": {"app=web"}, "fieldSelector": {"spec.nodeName=n1"}, "continue": {"more"}}
	if diff := gocmp.Diff([]url.Values{first, second}, s.queries); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]told{{2, 0}, {3, 0}}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestListTellsWhatRemains(t *testing.T) {
	t.Parallel()
	s := script(reply{body: `{"metadata":{"remainingItemCount":41},"items":[{"metadata":{"name":"a"}}]}`})
	got := 0
	if _, err := names(t, s.lister(t), cluster.ListOptions{OnPage: func(_, remaining int) { got = remaining }}); err != nil || got != 41 {
		t.Errorf("%d remain, error %v", got, err)
	}
}

// TestListAsksPlainly looks at the requests that really leave.
func TestListAsksPlainly(t *testing.T) {
	t.Parallel()
	type request struct{ Path, Accept, Encoding, Agent, Protocol string }
	var got request
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = request{r.URL.Path, r.Header.Get("Accept"), r.Header.Get("Accept-Encoding"), r.UserAgent(), r.Proto}
		fmt.Fprint(w, page("", "a"))
	}))
	t.Cleanup(api.Close)
	lister := newLister(t, &rest.Config{Host: api.URL + "/proxy", UserAgent: "kubectl-velero/v1", TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if _, err := names(t, lister, cluster.ListOptions{Namespace: "shop"}); err != nil {
		t.Fatal(err)
	}
	want := request{"/proxy/api/v1/namespaces/shop/pods", "application/json", "", "kubectl-velero/v1", "HTTP/1.1"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestListPassesErrorsOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply reply
		is    func(error) bool
		want  string
	}{
		"forbidden":    {failure(403, "Forbidden", "pods is forbidden"), apierrors.IsForbidden, `list pods in namespace "shop": pods is forbidden`},
		"not found":    {reply{code: 404, body: "404 page not found"}, apierrors.IsNotFound, "could not find the requested resource"},
		"not allowed":  {failure(405, "MethodNotAllowed", "no list"), apierrors.IsMethodNotSupported, "no list"},
		"unauthorized": {reply{code: 401}, apierrors.IsUnauthorized, "credentials"},
		"conversion":   {failure(500, "InternalError", "conversion webhook failed"), apierrors.IsInternalError, "conversion webhook failed"},
		"no such host": {reply{err: errors.New("no such host")}, nil, "no such host"},
		"no reason":    {failure(403, "", ""), apierrors.IsForbidden, "list pods"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(c.reply)
			_, err := names(t, s.lister(t), cluster.ListOptions{Namespace: "shop"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if c.is != nil && !c.is(err) || s.asked() != 1 {
				t.Errorf("asked %d times for %v", s.asked(), err)
			}
		})
	}
}

func TestListStopsAtTheVisitorsError(t *testing.T) {
	t.Parallel()
	s := script(reply{body: page("more", "a", "b")})
	lister := s.lister(t)
	boom := errors.New("archive full")
	visits := 0
	err := lister.List(t.Context(), pods, cluster.ListOptions{}, func(cluster.Object) error { visits++; return boom })
	if err != boom || visits != 1 || s.asked() != 1 || lister.Busy() != 0 {
		t.Errorf("error %v after %d visits and %d requests, %d slots not given back", err, visits, s.asked(), lister.Busy())
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	object := reply{body: `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"shop","deletionTimestamp":"2026-01-02T03:04:05Z"}}`}
	for name, c := range map[string]struct {
		server *server
		name   string
		want   string
		asked  int
	}{
		"there":       {script(object), "a", "", 1},
		"not there":   {script(failure(404, "NotFound", `pods "a" not found`)), "a", `get pods "a" in namespace "shop": pods "a" not found`, 1},
		"no name":     {script(object), "", "the name is empty", 0},
		"other place": {script(object), "..", `the name may not be '..'`, 0},
		"after 503":   {script(reply{code: 503}, object), "a", "", 2},
		"broken":      {script(reply{body: object.body[:40]}, object), "a", "", 2},
		"no object":   {script(reply{body: `[]`}), "a", "is no object", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			err := c.server.lister(t).Get(t.Context(), pods, "shop", c.name, func(o cluster.Object) error {
				got = fmt.Sprintf("%s/%s %v %s", o.Namespace, o.Name, o.Deleting, o.AppendJSON(nil))
				return nil
			})
			if c.want == "" && (err != nil || got != "shop/a true "+object.body) {
				t.Errorf("got %q, error %v", got, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if c.server.asked() != c.asked {
				t.Errorf("asked %d times", c.server.asked())
			}
		})
	}
}

func TestGetReturnsTheVisitorsError(t *testing.T) {
	t.Parallel()
	boom := errors.New("archive full")
	lister := script(reply{body: `{}`}).lister(t)
	if err := lister.Get(t.Context(), pods, "", "a", func(cluster.Object) error { return boom }); err != boom {
		t.Errorf("error %v", err)
	}
}

func TestAppendJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ item, want string }{
		"built-in":       {`{"metadata":{"name":"a"}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`},
		"typed":          {`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}`},
		"kind only":      {`{"metadata":{},"kind":"Pod"}`, `{"apiVersion":"v1","metadata":{},"kind":"Pod"}`},
		"version only":   {`{"apiVersion":"v1"}`, `{"kind":"Pod","apiVersion":"v1"}`},
		"nothing":        {`{}`, `{"apiVersion":"v1","kind":"Pod"}`},
		"nothing, wide":  {"{\n }", `{"apiVersion":"v1","kind":"Pod"}`},
		"wide":           {"{\n \"spec\": {} }", "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\": {} }"},
		"empty kind":     {`{"kind":"","apiVersion":"v1","spec":{}}`, `{"kind":"Pod","apiVersion":"v1","spec":{}}`},
		"both empty":     {`{"kind":null,"spec":{},"apiVersion":""}`, `{"kind":"Pod","spec":{},"apiVersion":"v1"}`},
		"one of each":    {`{"spec":{},"kind":""}`, `{"apiVersion":"v1","spec":{},"kind":"Pod"}`},
		"kind of others": {`{"spec":{"kind":"Other"}}`, `{"apiVersion":"v1","kind":"Pod","spec":{"kind":"Other"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got string
			s := script(reply{body: `{"metadata":{},"items":[` + c.item + `]}`})
			err := s.lister(t).List(t.Context(), pods, cluster.ListOptions{}, func(o cluster.Object) error {
				got = string(o.AppendJSON([]byte("x")))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff("x"+c.want, got); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
		})
	}
}

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

func asks(code int, retryAfter string) reply {
	return reply{code: code, header: http.Header{"Retry-After": {retryAfter}}}
}

func dial(err error) reply {
	return reply{err: fmt.Errorf("dial tcp 10.0.0.1:443: %w", &os.SyscallError{Syscall: "connect", Err: err})}
}

// TestListTriesAgain is about failures that pass: how long a list waits, by a
// fake clock.
func TestListTriesAgain(t *testing.T) {
	t.Parallel()
	date := time.Date(2000, 1, 1, 0, 0, 9, 0, time.UTC).Format(http.TimeFormat) // a bubble's clock begins at midnight
	const backoff = 200 * time.Millisecond
	for name, c := range map[string]struct {
		failure reply
		least   time.Duration
		most    time.Duration
		limit   int
	}{
		"429 that names seconds":           {asks(429, "7"), 7 * time.Second, 7*time.Second + backoff, 4},
		"429 that names a date":            {asks(429, date), 9 * time.Second, 9*time.Second + backoff, 4},
		"429 that names too long a time":   {asks(429, "86400"), time.Minute, time.Minute + backoff, 4},
		"429 that names a past date":       {asks(429, "Sat, 01 Jan 1994 00:00:00 GMT"), backoff / 2, backoff, 4},
		"429 that names nonsense":          {asks(429, "soon"), backoff / 2, backoff, 4},
		"429":                              {reply{code: 429}, backoff / 2, backoff, 4},
		"429 whose details name seconds":   {reply{code: 429, body: `{"kind":"Status","status":"Failure","code":429,"details":{"retryAfterSeconds":3}}`}, 3 * time.Second, 4 * time.Second, 4},
		"503":                              {reply{code: 503, body: "no endpoints"}, backoff / 2, backoff, 4},
		"503 that names seconds":           {asks(503, "2"), 2 * time.Second, 2*time.Second + backoff, 4},
		"502":                              {reply{code: 502}, backoff / 2, backoff, 8},
		"504":                              {failure(504, "Timeout", "request did not complete within 60s"), backoff / 2, backoff, 4},
		"500 of an etcd that elects":       {failure(500, "", "etcdserver: leader changed"), backoff / 2, backoff, 8},
		"500 of an etcd that is too slow":  {failure(500, "InternalError", "etcdserver: request timed out"), backoff / 2, backoff, 8},
		"500 of an etcd that is away":      {failure(500, "InternalError", "rpc error: code = Unavailable desc = connection closed"), backoff / 2, backoff, 8},
		"refused connection":               {dial(syscall.ECONNREFUSED), backoff / 2, backoff, 8},
		"reset connection":                 {dial(syscall.ECONNRESET), backoff / 2, backoff, 8},
		"no route":                         {dial(syscall.EHOSTUNREACH), backoff / 2, backoff, 8},
		"connection that ends":             {reply{err: io.EOF}, backoff / 2, backoff, 8},
		"body that is cut":                 {reply{body: page("", "a")[:60]}, backoff / 2, backoff, 8},
		"body that is reset":               {reply{body: page("", "a")[:60], broken: syscall.ECONNRESET}, backoff / 2, backoff, 8},
		"body that is no JSON":             {reply{body: "<html>"}, backoff / 2, backoff, 8},
		"error in the middle of the items": {reply{body: page("", "a")[:100] + `{"kind":"Status","status":"Failure"}`}, backoff / 2, backoff, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := script(c.failure, reply{body: page("", "a", "b")})
				lister := s.lister(t)
				began := time.Now()
				got, err := names(t, lister, cluster.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				wantNames(t, got, "a", "b")
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("waited %s, want between %s and %s", took, c.least, c.most)
				}
				if lister.Limit() != c.limit || lister.Busy() != 0 {
					t.Errorf("limit %d, want %d; %d slots not given back", lister.Limit(), c.limit, lister.Busy())
				}
			})
		})
	}
}

func TestListGivesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failure     reply
		least, most time.Duration
		asked       [2]int // at least, at most
		want        string
	}{
		"when nothing works for minutes":      {reply{code: 503}, 4 * time.Minute, 5 * time.Minute, [2]int{12, 25}, "unable to handle the request"},
		"when it waits as told for minutes":   {asks(429, "50"), 4 * time.Minute, 5 * time.Minute, [2]int{5, 7}, "too many requests"},
		"when responses break at one place":   {reply{body: page("", "a")[:60]}, 0, 10 * time.Second, [2]int{6, 6}, "broken response"},
		"when an item stays garbage":          {reply{body: `{"items":[{"metadata":{"name":7}}]}`}, 0, 10 * time.Second, [2]int{6, 6}, "metadata: name: is no string"},
		"when the snapshot is gone each time": {failure(410, "Expired", "too old"), 0, 10 * time.Second, [2]int{6, 6}, "too old"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := script(c.failure)
				began := time.Now()
				_, err := names(t, s.lister(t), cluster.ListOptions{Namespace: "shop"})
				if err == nil || !strings.Contains(err.Error(), `list pods in namespace "shop": `) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v", err)
				}
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("took %s", took)
				}
				if s.asked() < c.asked[0] || s.asked() > c.asked[1] {
					t.Errorf("asked %d times, want %d", s.asked(), c.asked)
				}
			})
		})
	}
}

// TestListIsPatientWhileThereIsProgress has each page fail several times.
func TestListIsPatientWhileThereIsProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var replies []reply
		for i := range 20 {
			next := fmt.Sprintf("page-%02d", i+1)
			if i == 19 {
				next = ""
			}
			replies = append(replies, asks(429, "55"), reply{code: 503}, asks(503, "55"), reply{body: page(next, fmt.Sprintf("pod-%02d", i))})
		}
		got, err := names(t, script(replies...).lister(t), cluster.ListOptions{})
		if err != nil || len(got) != 20 {
			t.Errorf("%d objects, error %v", len(got), err)
		}
	})
}

// TestListRepeatsACutPageWithoutRepeatingObjects cuts a list at every byte.
func TestListRepeatsACutPageWithoutRepeatingObjects(t *testing.T) {
	t.Parallel()
	first, second := page("more", "a", "b", "c"), page("", "d", "e")
	for n := range len(first) {
		for name, end := range map[string]error{"end": nil, "reset": syscall.ECONNRESET} {
			t.Run(fmt.Sprint(n, name), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					replies := []reply{{body: first[:n], broken: end}, {body: first}}
					if n <= len(second) {
						replies = append(replies, reply{body: second[:min(n, len(second)-1)], broken: end})
					}
					s := script(append(replies, reply{body: second})...)
					stale := 0
					got, err := names(t, s.lister(t), cluster.ListOptions{OnStale: func() { stale++ }})
					if err != nil || stale != 0 {
						t.Fatal(stale, err)
					}
					wantNames(t, got, "a", "b", "c", "d", "e")
				})
			})
		}
	}
}

func TestListRepeatsTheFirstPageInItsSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		whole := page("more", "a", "b")
		s := script(reply{body: whole[:len(whole)-10]}, reply{body: whole}, reply{body: page("", "c")})
		got, err := names(t, s.lister(t), cluster.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantNames(t, got, "a", "b", "c")
		if q := s.queries[0]; q.Has("resourceVersion") || q.Has("resourceVersionMatch") {
			t.Errorf("first request %v", q)
		}
		if q := s.queries[1]; q.Get("resourceVersion") != "7" || q.Get("resourceVersionMatch") != "Exact" {
			t.Errorf("second request %v", q)
		}
		if q := s.queries[2]; q.Has("resourceVersion") || q.Get("continue") != "more" {
			t.Errorf("third request %v", q)
		}
	})
}

func TestListTellsWhenARepeatedPageIsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		whole := page("", "a", "b", "c")
		s := script(reply{body: whole[:len(whole)-10]}, reply{body: page("", "a", "c", "d")})
		stale := 0
		got, err := names(t, s.lister(t), cluster.ListOptions{OnStale: func() { stale++ }})
		if err != nil || stale != 1 {
			t.Errorf("stale %d, error %v", stale, err)
		}
		wantNames(t, got, "a", "b", "c", "d")
	})
}

// gone is the API server's answer to a continue token that it no longer has the
// data for.
func gone(token string) reply {
	return reply{code: 410, body: fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"status":"Failure","reason":"Expired","message":"too old","code":410}`, token)}
}

func TestListGoesOnAfterTheSnapshotExpired(t *testing.T) {
	t.Parallel()
	cut := func(body string) reply { return reply{body: body[:len(body)-10]} }
	for name, c := range map[string]struct {
		replies []reply
		want    []string
		stale   int
		tokens  []string // of the requests
	}{
		"with a token": {
			[]reply{{body: page("old", "a", "b")}, gone("fresh"), {body: page("", "c")}},
			[]string{"a", "b", "c"}, 1, []string{"", "old", "fresh"},
		},
		"with a token for a page of which something was taken": {
			[]reply{{body: page("old", "a")}, cut(page("", "b", "d", "e")), gone("fresh"), {body: page("", "b", "c", "d", "f")}},
			[]string{"a", "b", "d", "f"}, 1, []string{"", "old", "old", "fresh"},
		},
		"without a token": {
			[]reply{{body: page("old", "b", "c")}, gone(""), {body: page("new", "a", "b")}, {body: page("", "c", "d")}},
			[]string{"b", "c", "d"}, 1, []string{"", "old", "", "new"},
		},
		"twice": {
			[]reply{{body: page("old", "b", "c")}, gone(""), {body: page("new", "a", "b")}, gone("newer"), {body: page("", "c", "d")}},
			[]string{"b", "c", "d"}, 1, []string{"", "old", "", "new", "newer"},
		},
		"of the first page": {
			[]reply{cut(page("more", "a", "b")), gone(""), {body: page("", "a", "c")}},
			[]string{"a", "c"}, 1, []string{"", "", ""},
		},
		"of the first page, whose version isn't understood": {
			[]reply{cut(page("more", "a", "b")), failure(400, "BadRequest", "resourceVersionMatch"), {body: page("", "a", "c")}},
			[]string{"a", "c"}, 1, []string{"", "", ""},
		},
		"before anything was passed on": {
			[]reply{gone(""), {body: page("", "a")}},
			[]string{"a"}, 0, []string{"", ""},
		},
		"and the second response is cut": {
			[]reply{{body: page("old", "a", "b")}, gone("fresh"), cut(page("", "c", "d")), {body: page("", "c", "d")}},
			[]string{"a", "b", "c", "d"}, 1, []string{"", "old", "fresh", "fresh"},
		},
		"and the repeated page is cut before anything new": {
			[]reply{{body: page("old", "a", "b")}, gone(""), {body: page("", "a", "b", "c")[:130]}, {body: page("", "a", "b", "c")}},
			[]string{"a", "b", "c"}, 1, []string{"", "old", "", ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := script(c.replies...)
				stale := 0
				got, err := names(t, s.lister(t), cluster.ListOptions{OnStale: func() { stale++ }})
				if err != nil || stale != c.stale {
					t.Errorf("stale %d, want %d, error %v", stale, c.stale, err)
				}
				wantNames(t, got, c.want...)
				tokens := []string{}
				for _, q := range s.queries {
					tokens = append(tokens, q.Get("continue"))
				}
				if fmt.Sprint(tokens) != fmt.Sprint(c.tokens) {
					t.Errorf("tokens %q, want %q", tokens, c.tokens)
				}
			})
		})
	}
}

// TestListWithoutOrder is about API servers whose lists are in no order.
func TestListWithoutOrder(t *testing.T) {
	t.Parallel()
	cut := func(body string) reply { return reply{body: body[:len(body)-10]} }
	whole := page("more", "c", "a", "b")
	for name, c := range map[string]struct {
		replies []reply
		want    []string
		fails   bool
	}{
		"pages":                        {[]reply{{body: whole}, {body: page("", "0")}}, []string{"c", "a", "b", "0"}, false},
		"a page repeated as it was":    {[]reply{cut(whole), {body: whole}, {body: page("", "0")}}, []string{"c", "a", "b", "0"}, false},
		"cut behind its first object":  {[]reply{{body: whole[:130]}, {body: whole}, {body: page("", "0")}}, []string{"c", "a", "b", "0"}, false},
		"a page repeated otherwise":    {[]reply{cut(whole), {body: page("more", "b", "c", "a")}}, []string{"c", "a"}, true},
		"begun again":                  {[]reply{{body: whole}, gone("")}, []string{"c", "a", "b"}, true},
		"gone on with at a page's end": {[]reply{{body: whole}, gone("fresh"), {body: page("", "0")}}, []string{"c", "a", "b", "0"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got, err := names(t, script(c.replies...).lister(t), cluster.ListOptions{})
				if (err != nil) != c.fails {
					t.Errorf("error %v", err)
				}
				if c.fails && !strings.Contains(err.Error(), "isn't in order") {
					t.Errorf("error %v", err)
				}
				wantNames(t, got, c.want...)
			})
		})
	}
}

// TestListEndsWithItsContext cancels a list in each of its states.
func TestListEndsWithItsContext(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, answer := range map[string]http.HandlerFunc{
		"no answer":     func(http.ResponseWriter, *http.Request) {},
		"half a page":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page("", "a")[:60]) },
		"told to wait":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "50"); w.WriteHeader(429) },
		"slow refusals": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); fmt.Fprint(w, "no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reached atomic.Bool
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer(w, r)
				reached.Store(true)
				if name != "told to wait" && name != "slow refusals" {
					_ = http.NewResponseController(w).Flush()
					select {
					case <-r.Context().Done():
					case <-hang:
					}
				}
			}))
			t.Cleanup(api.Close)
			lister := newLister(t, &rest.Config{Host: api.URL})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- lister.List(ctx, pods, cluster.ListOptions{}, func(cluster.Object) error { return nil })
			}()
			for !reached.Load() {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(20 * time.Millisecond)
			cancel()
			select {
			case err := <-ended:
				if !errors.Is(err, context.Canceled) || lister.Busy() != 0 {
					t.Errorf("error %v, %d slots not given back", err, lister.Busy())
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the list goes on")
			}
		})
	}
}

// silent is an API server that stops in the middle of an answer.
type silent struct {
	body string // before it stops; nothing means no answer at all
	next *server
	n    int
}

func (s *silent) RoundTrip(request *http.Request) (*http.Response, error) {
	if s.n++; s.n > 1 {
		return s.next.RoundTrip(request)
	}
	if s.body == "" {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	body := io.MultiReader(strings.NewReader(s.body), hanging{request.Context()})
	return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
}

type hanging struct{ ctx context.Context }

func (h hanging) Read([]byte) (int, error) { <-h.ctx.Done(); return 0, h.ctx.Err() }

func TestListLeavesASilentConnection(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"no answer": "", "half a page": page("", "a", "b")[:130]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &silent{body: body, next: script(reply{body: page("", "a", "b")})}
				lister := newLister(t, &rest.Config{Host: "http://api.test", Transport: api})
				began := time.Now()
				got, err := names(t, lister, cluster.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				wantNames(t, got, "a", "b")
				if took := time.Since(began); took < time.Minute || took > 2*time.Minute || lister.Limit() != 4 {
					t.Errorf("took %s, limit %d", took, lister.Limit())
				}
			})
		})
	}
}

// TestListWaitsForASlowVisitor has a visitor that is slower than any timeout.
func TestListWaitsForASlowVisitor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := script(reply{body: page("more", "a", "b")}, reply{body: page("", "c")})
		lister := s.lister(t)
		err := lister.List(t.Context(), pods, cluster.ListOptions{}, func(cluster.Object) error {
			time.Sleep(10 * time.Minute)
			return nil
		})
		if err != nil || s.asked() != 2 || lister.Limit() != cluster.MaxParallel {
			t.Errorf("asked %d times, limit %d, error %v", s.asked(), lister.Limit(), err)
		}
	})
}

// TestListResumesWhatAStalledVisitorLost has the API server end each response
// after a minute, as it does, while the visitor takes longer for each object.
func TestListResumesWhatAStalledVisitorLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		objects := make([]string, 40)
		for i := range objects {
			objects[i] = fmt.Sprintf("pod-%02d", i)
		}
		whole := page("", objects...)
		n := 0
		s := &server{answer: func(url.Values) reply {
			n++
			if n >= len(objects) {
				return reply{body: whole}
			}
			return reply{body: whole[:strings.Index(whole, objects[n])], broken: syscall.ECONNRESET} // one more object each time
		}}
		got, err := names(t, s.lister(t), cluster.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wantNames(t, got, objects...)
	})
}

func TestListErrorsKeepTheirStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, err := names(t, script(failure(503, "ServiceUnavailable", "the server is down")).lister(t), cluster.ListOptions{})
		if !apierrors.IsServiceUnavailable(err) {
			t.Errorf("error %v", err)
		}
	})
}

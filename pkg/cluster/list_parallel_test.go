package cluster_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// kind is one of several kinds.
func kind(n int) cluster.Resource {
	return cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: fmt.Sprintf("kind%d", n)}, Kind: "Kind"}
}

// pages are lists of as many pages, each with one object.
func pages(query url.Values, count int) reply {
	n, _ := strconv.Atoi(query.Get("continue")) // empty is the first
	next := ""
	if n+1 < count {
		next = strconv.Itoa(n + 1)
	}
	return reply{body: page(next, fmt.Sprintf("object-%04d", n))}
}

// TestListsDontWaitForEachOther has one consumer that takes kind after kind,
// while the API server allows one request at a time: a list that waits for the
// consumer must not hold up the list that the consumer waits for.
func TestListsDontWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		s := &server{answer: func(query url.Values) reply {
			if asked.Add(1) <= 20 {
				return reply{code: 503}
			}
			return pages(query, 30)
		}}
		lister := s.lister(t)
		streams := make([]chan string, cluster.MaxParallel)
		var group errgroup.Group
		for i := range streams {
			streams[i] = make(chan string)
			group.Go(func() error {
				defer close(streams[i])
				return lister.List(t.Context(), kind(i), cluster.ListOptions{}, func(o cluster.Object) error {
					streams[i] <- o.Name
					return nil
				})
			})
		}
		got := 0
		for _, stream := range streams {
			for range stream {
				got++
			}
		}
		if err := group.Wait(); err != nil || got != 30*len(streams) || lister.Busy() != 0 {
			t.Errorf("%d objects, %d slots not given back, error %v", got, lister.Busy(), err)
		}
	})
}

// TestListsHaveNoMoreThanMaxParallelPagesInFlight counts at a real server, also
// after it has refused requests.
func TestListsHaveNoMoreThanMaxParallelPagesInFlight(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var inFlight, most, asked int
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked++
		refuse := asked == 100
		inFlight++
		most = max(most, inFlight)
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		inFlight--
		mu.Unlock()
		if refuse {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		fmt.Fprint(w, pages(r.URL.Query(), 20).body)
	}))
	t.Cleanup(api.Close)
	lister := newLister(t, &rest.Config{Host: api.URL})
	var group errgroup.Group
	var seen, cut atomic.Int32
	for i := range 3 * cluster.MaxParallel {
		group.Go(func() error {
			return lister.List(t.Context(), kind(i), cluster.ListOptions{}, func(cluster.Object) error {
				seen.Add(1)
				if lister.Limit() < cluster.MaxParallel {
					cut.Add(1)
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if most > cluster.MaxParallel || seen.Load() != 20*3*cluster.MaxParallel || cut.Load() == 0 {
		t.Errorf("%d in flight, %d objects, %d of them with a lower limit", most, seen.Load(), cut.Load())
	}
}

// TestListDoesntFillMemoryForASlowVisitor has a visitor that stops in a page of
// 64 MiB: what it doesn't take stays with the API server.
func TestListDoesntFillMemoryForASlowVisitor(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	big := fmt.Sprintf(`{"metadata":{"name":"%%05d"},"data":%q}`, strings.Repeat("x", 64<<10))
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"metadata":{},"items":[{}`)
		for i := range 1000 {
			n, err := fmt.Fprintf(w, ","+big, i)
			if err != nil {
				return
			}
			sent.Add(int64(n))
		}
		fmt.Fprint(w, `]}`)
	}))
	t.Cleanup(api.Close)
	stop := fmt.Errorf("enough")
	err := newLister(t, &rest.Config{Host: api.URL}).List(t.Context(), pods, cluster.ListOptions{}, func(cluster.Object) error {
		for before := int64(-1); before != sent.Load(); time.Sleep(100 * time.Millisecond) {
			before = sent.Load()
		}
		return stop
	})
	if err != stop || sent.Load() > 16<<20 {
		t.Errorf("%d bytes were sent, error %v", sent.Load(), err)
	}
}

//go:build integration

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// gcsPartSize is the smallest part that a location can be set to.
const gcsPartSize = 1 << 20

func startGCS(t *testing.T, o testenv.GCSOptions) *testenv.GCSServer {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	server, err := testenv.StartGCS(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// gcsBuckets makes buckets, each with small parts.
type gcsBuckets struct {
	server *testenv.GCSServer
	count  atomic.Int32
}

func (g *gcsBuckets) location(t *testing.T, prefix string, versions bool) store.Location {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", g.count.Add(1))
	if err := g.server.CreateBucket(t.Context(), name, versions); err != nil {
		t.Fatal(err)
	}
	l := g.server.Location(name, prefix)
	l.Config["partSizeMiB"] = fmt.Sprint(gcsPartSize >> 20)
	return l
}

func (g *gcsBuckets) open(t *testing.T, prefix string) store.Bucket {
	t.Helper()
	return open(t, g.location(t, prefix, false))
}

// through goes by redirect's address for the server's.
func (g *gcsBuckets) through(t *testing.T, redirect func(string) string) store.Bucket {
	t.Helper()
	l := g.location(t, "", false)
	endpoint, err := url.Parse(l.Config["storeEndpoint"])
	if err != nil {
		t.Fatal(err)
	}
	endpoint.Host = redirect(endpoint.Host)
	l.Config["storeEndpoint"] = endpoint.String()
	return open(t, l)
}

func (g *gcsBuckets) locking(versions bool) func(*testing.T) storetest.Locking {
	return func(t *testing.T) storetest.Locking {
		l := g.location(t, "", versions)
		return storetest.Locking{
			Bucket:   open(t, l),
			Versions: versions,
			Retain: func(t *testing.T, key string) time.Time {
				until := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
				if err := g.server.Retain(t.Context(), l.Bucket, key, until); err != nil {
					t.Fatal(err)
				}
				return until
			},
			Inspected: store.No, // it has no rule for new objects
		}
	}
}

func TestConformanceGCS(t *testing.T) {
	t.Parallel()
	for name, tls := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{TLS: tls})}
			storetest.Run(t, storetest.Provider{
				Open:     buckets.open,
				PartSize: gcsPartSize,
				Through:  buckets.through,
				Locking:  buckets.locking(tls),
			})
		})
	}
}

// TestConformanceGCSWithoutFront has nothing between the bucket and the server.
func TestConformanceGCSWithoutFront(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
	storetest.Run(t, storetest.Provider{
		Open: func(t *testing.T, prefix string) store.Bucket {
			l := buckets.location(t, prefix, false)
			l.Config["storeEndpoint"] = buckets.server.DirectURL
			return open(t, l)
		},
		PartSize: gcsPartSize,
	})
}

// TestGCSUploadIsAborted has a stream that breaks, and a context that ends, behind
// some parts.
func TestGCSUploadIsAborted(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*io.PipeWriter, context.CancelFunc){
		"broken":    func(w *io.PipeWriter, _ context.CancelFunc) { _ = w.CloseWithError(errors.New("broken stream")) }, // never fails
		"cancelled": func(_ *io.PipeWriter, cancel context.CancelFunc) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
			b := buckets.open(t, "")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, w := io.Pipe()
			go func() {
				_, err := io.CopyN(w, rand.NewChaCha8([32]byte{}), 3*gcsPartSize+1)
				for err == nil && len(buckets.server.OpenUploads()) == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				end(w, cancel)
			}()
			if err := b.Put(ctx, "k", r); err == nil {
				t.Error("no error")
			}
			if left := buckets.server.OpenUploads(); len(left) > 0 {
				t.Errorf("uploads left: %q", left)
			}
			storetest.CheckNothingLeft(t, b)
		})
	}
}

func TestSettingsGCS(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{TLS: true})}
	for name, change := range map[string]func(*store.Location){
		"not verified":  func(l *store.Location) { l.Config["insecureSkipTLSVerify"] = "true" },
		"storage class": func(l *store.Location) { l.Config["storageClass"] = "NEARLINE" },
		"key":           func(l *store.Location) { l.Config["kmsKeyName"] = "projects/p/locations/eu/keyRings/r/cryptoKeys/k" },
		"default parts": func(l *store.Location) { delete(l.Config, "partSizeMiB") },
		"file of config": func(l *store.Location) {
			l.Config["credentialsFile"], l.CredentialsFile = l.CredentialsFile, "/nowhere/cloud"
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := buckets.location(t, "p", false)
			change(&l)
			storetest.Writes(t, open(t, l), gcsPartSize)
		})
	}
}

func TestRefusalsGCS(t *testing.T) {
	t.Parallel()
	server := startGCS(t, testenv.GCSOptions{})
	if err := server.CreateBucket(t.Context(), "there", false); err != nil {
		t.Fatal(err)
	}
	wrongKey := filepath.Join(t.TempDir(), "key.json")
	if _, err := testenv.WriteGoogleKey(wrongKey, server.TokenURL); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		bucket, file string
		want         error
		hint         string
	}{
		"no bucket":      {"nowhere", server.CredentialsFile, store.ErrNoBucket, `create the bucket "nowhere"`},
		"key of another": {"there", wrongKey, store.ErrDenied, "no longer one of the service account's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := server.Location(test.bucket, "")
			l.CredentialsFile = test.file
			l.Config["partSizeMiB"] = fmt.Sprint(gcsPartSize >> 20)
			for call, run := range gcsCalls(open(t, l)) {
				err := run(t.Context())
				if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.hint) || strings.Contains(err.Error(), "PRIVATE KEY") || store.Temporary(err) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// gcsCalls are the calls of a Bucket.
func gcsCalls(b store.Bucket) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"put": func(ctx context.Context) error { return b.Put(ctx, "k", strings.NewReader("x")) },
		"put large": func(ctx context.Context) error {
			return b.Put(ctx, "k", io.LimitReader(rand.NewChaCha8([32]byte{}), 2*gcsPartSize))
		},
		"create":   func(ctx context.Context) error { return b.Create(ctx, "k", []byte("x")) },
		"delete":   func(ctx context.Context) error { return b.Delete(ctx, "k") },
		"get":      func(ctx context.Context) error { _, err := b.Get(ctx, "k"); return err },
		"range":    func(ctx context.Context) error { _, err := b.GetRange(ctx, "k", 1, 2); return err },
		"stat":     func(ctx context.Context) error { _, err := b.Stat(ctx, "k"); return err },
		"prefixes": func(ctx context.Context) error { _, err := b.Prefixes(ctx, ""); return err },
		"inspect":  func(ctx context.Context) error { _, err := b.(store.Inspector).Inspect(ctx); return err },
		"list": func(ctx context.Context) error {
			for _, err := range b.List(ctx, "") {
				return err
			}
			return nil
		},
	}
}

func TestUnreachableGCSIsToldInTime(t *testing.T) {
	t.Parallel()
	server := startGCS(t, testenv.GCSOptions{})
	// They wait, and so all at once.
	var waiting sync.WaitGroup
	for name, change := range map[string]func(*store.Location){
		"silent":       func(l *store.Location) { l.Config["storeEndpoint"] = silent(t) },
		"silent TLS":   func(l *store.Location) { l.Config["storeEndpoint"] = "https" + strings.TrimPrefix(silent(t), "http") },
		"swallowed":    func(l *store.Location) { l.Config["storeEndpoint"] = "http://192.0.2.1:9" },
		"token server": func(l *store.Location) { l.CredentialsFile = federate(t, silent(t), "token") },
	} {
		l := server.Location("bucket", "")
		l.Config["partSizeMiB"] = fmt.Sprint(gcsPartSize >> 20)
		change(&l)
		b := open(t, l)
		for call, run := range gcsCalls(b) {
			if call == "put" && name != "token server" {
				continue // a body may take as long as it does
			}
			waiting.Go(func() {
				start := time.Now()
				err := run(t.Context())
				if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) || !strings.Contains(err.Error(), "; hint: check that the ") {
					t.Errorf("%s, %s: %v", name, call, err)
				}
				if took := time.Since(start); took > toldWithin {
					t.Errorf("%s, %s: took %s: %v", name, call, took, err)
				}
			})
		}
	}
	waiting.Wait()
}

// TestTokenRunsOutInUpload has tokens that live shorter than the upload, but longer
// than a busy machine takes from the token to the request that bears it.
func TestTokenRunsOutInUpload(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{TokenLifetime: 3 * time.Second})}
	b := buckets.open(t, "")
	r, w := io.Pipe()
	go func() {
		random := rand.NewChaCha8([32]byte{})
		var err error
		for range 8 {
			if _, err = io.CopyN(w, random, gcsPartSize); err != nil {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
		_ = w.CloseWithError(err)
	}()
	if err := b.Put(t.Context(), "k", r); err != nil {
		t.Error(err)
	}
	if given := buckets.server.TokensGiven(); given < 3 {
		t.Errorf("%d tokens", given)
	}
}

func TestGCSServerKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
	b := buckets.open(t, "")
	r, w := io.Pipe()
	go func() {
		random := rand.NewChaCha8([32]byte{})
		_, err := io.CopyN(w, random, 4*gcsPartSize)
		if err == nil {
			err = buckets.server.Kill()
		}
		for err == nil {
			_, err = io.CopyN(w, random, gcsPartSize)
		}
	}()
	start := time.Now()
	err := b.Put(t.Context(), "dir/k", r)
	if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) {
		t.Errorf("put: %v", err)
	}
	if took := time.Since(start); took > 60*time.Second {
		t.Errorf("took %s", took)
	}
}

// TestGCSPutMemory counts what an upload of many parts allocates in all, so it
// doesn't run beside others.
func TestGCSPutMemory(t *testing.T) {
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
	l := buckets.location(t, "", false)
	// The front would count, which is in this process.
	l.Config["storeEndpoint"], l.Config["partSizeMiB"] = buckets.server.DirectURL, "4"
	b := open(t, l)
	const size = 48 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// Our part of 4 MiB, the SDK's, and some for the requests.
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 12 {
		t.Errorf("an object of %d MiB took %d MiB", size>>20, got)
	}
	info, err := b.Stat(t.Context(), "k")
	if err != nil || info.Size != size {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestGCSIsFlaky has a proxy before the server that refuses or cuts each request
// when it comes first.
func TestGCSIsFlaky(t *testing.T) {
	t.Parallel()
	buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
	for name, fault := range map[string]func(http.ResponseWriter){
		"busy": func(w http.ResponseWriter) { http.Error(w, "busy", http.StatusServiceUnavailable) },
		"rate": func(w http.ResponseWriter) { http.Error(w, "slow down", http.StatusTooManyRequests) },
		"cut":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen sync.Map
			b := buckets.through(t, func(address string) string {
				proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
				flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, again := seen.LoadOrStore(fmt.Sprint(r.Method, r.URL, r.Header["Content-Range"], r.Header["Range"]), true); !again {
						fault(w)
						return
					}
					proxy.ServeHTTP(w, r)
				}))
				t.Cleanup(flaky.Close)
				return flaky.Listener.Addr().String()
			})
			storetest.Writes(t, b, gcsPartSize)
			if got := storetest.Keys(t, b, ""); len(got) < 5 {
				t.Errorf("keys %q", got)
			}
			if err := b.Delete(t.Context(), storetest.Keys(t, b, "")...); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLeastRightsGCS makes every call with the rights that docs/storage-gcp.md
// asks for, and again without each of them. It is the front that refuses.
func TestLeastRightsGCS(t *testing.T) {
	t.Parallel()
	const create, get, list, remove = "storage.objects.create", "storage.objects.get", "storage.objects.list", "storage.objects.delete"
	for without, want := range map[string][]string{
		"":     nil,
		create: {"put", "put large", "create"},
		get:    {"get", "range", "stat"},
		list:   {"list", "prefixes", "inspect"},
		remove: {"delete", "put", "put large"},
	} {
		t.Run("without "+without, func(t *testing.T) {
			t.Parallel()
			buckets := &gcsBuckets{server: startGCS(t, testenv.GCSOptions{})}
			b := buckets.open(t, "")
			storetest.Put(t, b, "k", []byte("content"))
			buckets.server.Grant(slices.DeleteFunc([]string{create, get, list, remove}, func(r string) bool { return r == without })...)
			calls := gcsCalls(b)
			calls["create"] = func(ctx context.Context) error { return b.Create(ctx, "new", nil) }
			var denied []string
			for _, call := range []string{"create", "put", "put large", "get", "range", "stat", "list", "prefixes", "inspect", "delete"} {
				err := calls[call](t.Context())
				switch {
				case errors.Is(err, store.ErrDenied) && strings.Contains(err.Error(), without) && strings.Contains(err.Error(), "hint: grant the account"):
					denied = append(denied, call)
				case err != nil:
					t.Errorf("%s: %v", call, err)
				}
			}
			slices.Sort(denied)
			slices.Sort(want)
			if diff := cmp.Diff(want, denied); diff != "" {
				t.Error(diff)
			}
		})
	}
}

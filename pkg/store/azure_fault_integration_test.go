//go:build integration

package store_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// between opens a bucket whose requests pass intercept on their way to Azurite. It
// says whether it has answered.
func (a *azuriteBuckets) between(t *testing.T, intercept func(w http.ResponseWriter, r *http.Request) bool, answers func(*http.Response) error) store.Bucket {
	t.Helper()
	target, err := url.Parse(a.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
	proxy.ModifyResponse = answers
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !intercept(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	l := a.location(t, "")
	l.Config["storageAccountURI"] = server.URL + target.Path
	return open(t, l)
}

func refuseAzure(w http.ResponseWriter, status int, code string) {
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
}

// TestAzureIsBusy has a store that refuses every other request.
func TestAzureIsBusy(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	for name, busy := range map[string]struct {
		status int
		code   string
	}{"slow down": {503, "ServerBusy"}, "internal": {500, "InternalError"}, "timed out": {500, "OperationTimedOut"}, "throttled": {429, ""}, "damaged": {400, "Md5Mismatch"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			b := buckets.between(t, func(w http.ResponseWriter, r *http.Request) bool {
				if requests.Add(1)%2 == 0 {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body)
				refuseAzure(w, busy.status, busy.code)
				return true
			}, nil)
			want := storetest.Content(3*azurePartSize + 1)
			storetest.Put(t, b, "k", want)
			storetest.CheckContent(t, b, "k", want)
		})
	}
	t.Run("for ever", func(t *testing.T) {
		t.Parallel()
		b := buckets.between(t, func(w http.ResponseWriter, r *http.Request) bool {
			refuseAzure(w, 503, "ServerBusy")
			return true
		}, nil)
		start := time.Now()
		for call, err := range everyAzureCall(t.Context(), b) {
			if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) {
				t.Errorf("%s: %v", call, err)
			}
		}
		t.Log(time.Since(start))
	})
}

// TestAzureClockSkew has a store whose clock is an hour ahead, and that is as strict
// about it as Azure.
func TestAzureClockSkew(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	for name, lies := range map[string]bool{"corrected": false, "not believed": true} {
		t.Run(name, func(t *testing.T) {
			var refused atomic.Int32
			b := buckets.between(t, func(w http.ResponseWriter, r *http.Request) bool {
				date, err := http.ParseTime(r.Header.Get("x-ms-date"))
				if err == nil && ahead().Sub(date).Abs() < 15*time.Minute && !lies {
					return false
				}
				refused.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Date", ahead().UTC().Format(http.TimeFormat))
				refuseAzure(w, 403, "AuthenticationFailed")
				return true
			}, func(r *http.Response) error {
				r.Header.Set("Date", ahead().UTC().Format(http.TimeFormat))
				return nil
			})
			if lies {
				_, err := b.Stat(t.Context(), "k")
				if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "hint: the clocks differ too much: the store's says ") {
					t.Error(err)
				}
				return
			}
			want := storetest.Content(2*azurePartSize + 1)
			storetest.Put(t, b, "k", want)
			storetest.CheckContent(t, b, "k", want)
			if refused.Load() != 1 {
				t.Errorf("%d requests were refused, not only the first", refused.Load())
			}
		})
	}
}

// TestAzureClockSkewTogether has requests of which none has come back when the
// others are sent: each is refused, and each is sent again.
func TestAzureClockSkewTogether(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	ahead := func() time.Time { return time.Now().Add(time.Hour) }
	const requests = 4
	var arrived sync.WaitGroup
	arrived.Add(requests)
	b := buckets.between(t, func(w http.ResponseWriter, r *http.Request) bool {
		date, err := http.ParseTime(r.Header.Get("x-ms-date"))
		if err == nil && ahead().Sub(date).Abs() < 15*time.Minute {
			return false
		}
		arrived.Done()
		arrived.Wait()
		w.Header().Set("Date", ahead().UTC().Format(http.TimeFormat))
		refuseAzure(w, 403, "AuthenticationFailed")
		return true
	}, nil)
	errs := make(chan error, requests)
	for range requests {
		go func() {
			_, err := b.Stat(t.Context(), "k")
			errs <- err
		}()
	}
	for range requests {
		if err := <-errs; !errors.Is(err, store.ErrNotExist) {
			t.Error(err)
		}
	}
}

// TestAzureReplacedWhileRead breaks the connection of a reader, and replaces what it
// reads.
func TestAzureReplacedWhileRead(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	cutter := &storetest.Cutter{}
	b := buckets.through(t, func(address string) string { return cutter.Listen(t, address) })
	storetest.Put(t, b, "k", storetest.Content(4*azurePartSize))
	cutter.Answers(2*azurePartSize, 1)
	r, err := b.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, azurePartSize); err != nil {
		t.Fatal(err)
	}
	if err := buckets.replace(t, b); err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, r)
	if err == nil || !strings.Contains(err.Error(), "it was replaced while it was read") || errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
}

func (a *azuriteBuckets) replace(t *testing.T, b store.Bucket) error {
	return b.Put(t.Context(), "k", bytes.NewReader([]byte("new")))
}

// TestAzureLeastRights has accounts with exactly some of the rights that the
// documentation names.
func TestAzureLeastRights(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	all := sas.ContainerPermissions{Read: true, List: true, Create: true, Write: true, Delete: true}
	for name, test := range map[string]struct {
		rights sas.ContainerPermissions
		denied []string
	}{
		"all":       {all, nil},
		"no read":   {withoutRight(all, func(p *sas.ContainerPermissions) { p.Read = false }), []string{"get", "range", "stat"}},
		"no list":   {withoutRight(all, func(p *sas.ContainerPermissions) { p.List = false }), []string{"list", "prefixes", "inspect"}},
		"no write":  {withoutRight(all, func(p *sas.ContainerPermissions) { p.Write, p.Create = false, false }), []string{"put", "put large", "create"}},
		"no delete": {withoutRight(all, func(p *sas.ContainerPermissions) { p.Delete = false }), []string{"delete"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := buckets.location(t, "")
			storetest.Put(t, open(t, l), "k", []byte("there"))
			signed, err := buckets.client(t, l).GetSASURL(test.rights, time.Now().Add(time.Hour), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, query, _ := strings.Cut(signed, "?")
			b := open(t, l)
			if err := store.SetSharedAccess(b, buckets.server.URL+"?"+query); err != nil {
				t.Fatal(err)
			}
			calls := everyAzureCall(t.Context(), b)
			for _, call := range test.denied {
				if !errors.Is(calls[call], store.ErrDenied) || strings.Contains(calls[call].Error(), "sig=") {
					t.Errorf("%s: %v", call, calls[call])
				}
				delete(calls, call)
			}
			for call, err := range calls {
				if err != nil && !errors.Is(err, store.ErrExists) && !errors.Is(err, store.ErrNotExist) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

func withoutRight(p sas.ContainerPermissions, change func(*sas.ContainerPermissions)) sas.ContainerPermissions {
	change(&p)
	return p
}

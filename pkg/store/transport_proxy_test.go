package store

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
)

// proxiedVariable tells the test binary that it is the child of TestProxy, whose
// environment names a proxy: Go looks at that only once in a process.
const proxiedVariable = "STORE_TEST_PROXIED"

func TestProxy(t *testing.T) {
	t.Parallel()
	if os.Getenv(proxiedVariable) != "" { // the child: a process reads these variables once
		if _, err := openAt(t, "http://store.example", nil).Stat(t.Context(), "k"); !errors.Is(err, ErrNotExist) {
			t.Errorf("error %v", err)
		}
		return
	}
	var asked atomic.Value
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "" {
			asked.Store(r.URL.Host)
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(proxy.Close)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestProxy$", "-test.v")
	child.Env = append(os.Environ(), proxiedVariable+"=1", "HTTP_PROXY="+proxy.URL, "http_proxy=", "NO_PROXY=", "no_proxy=")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if asked.Load() != "store.example" {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
}

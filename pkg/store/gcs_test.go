package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testToken        = "ya29.geheim-token"
	testSubjectToken = "eyJhbGciOi.geheim-subject.c2ln"
)

// writeFederation writes credentials that are to be exchanged for a token at url.
func writeFederation(t *testing.T, url string) string {
	t.Helper()
	dir := t.TempDir()
	subject := filepath.Join(dir, "subject")
	body, err := json.Marshal(map[string]any{
		"type":               "external_account",
		"audience":           "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url":          url,
		"credential_source":  map[string]string{"file": subject},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "cloud")
	if err := errors.Join(os.WriteFile(subject, []byte(testSubjectToken), 0o600), os.WriteFile(file, body, 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// gcsAt opens bucket b at a server of the test, which gives out tokens, too.
func gcsAt(t *testing.T, url string, config map[string]string) *gcsBucket {
	t.Helper()
	l := Location{Provider: "gcp", Bucket: "b", Prefix: "p", CredentialsFile: writeFederation(t, url+"/token"), Config: map[string]string{
		"storeEndpoint": url, "partSizeMiB": "1",
	}}
	for k, v := range config {
		l.Config[k] = v
	}
	opened, err := Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*gcsBucket)
}

// serveGCS opens bucket b at a server that answers every request with handler.
func serveGCS(t *testing.T, config map[string]string, handler http.HandlerFunc) *gcsBucket {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			answerJSON(w, map[string]any{"access_token": testToken, "token_type": "Bearer", "issued_token_type": "x", "expires_in": 3600})
			return
		}
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			t.Errorf("%s %s is authorized by %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return gcsAt(t, server.URL, config)
}

func answerJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client's error says more
}

func refuseJSON(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("X-Guploader-Uploadid", "R1")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"reason":%q,"message":%q}]}}`, status, message, reason, message)
}

func TestErrorsOfGCS(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status          int
		reason, message string
		want            error
		hint            string
	}{
		{404, "notFound", "The specified bucket does not exist.", ErrNoBucket, `create the bucket "b"`},
		{404, "notFound", "No such object: b/p/k", ErrNotExist, ""},
		{401, "authError", "Invalid Credentials", ErrDenied, "doesn't take this account's token"},
		{401, "required", "Anonymous caller does not have storage.objects.get access", ErrDenied, "doesn't take this account's token"},
		{403, "forbidden", "velero@p.iam.gserviceaccount.com does not have storage.objects.get access", ErrDenied, "roles/storage.objectUser"},
		{403, "forbidden", "Permission denied on Cloud KMS key.", ErrDenied, "cryptoKeyEncrypterDecrypter"},
		{400, "invalid", "Cloud KMS key location must match bucket location.", nil, "cryptoKeyEncrypterDecrypter"},
		{403, "rateLimitExceeded", "slow down", ErrUnavailable, ""},
		{403, "accountDisabled", "The billing account for the owning project is disabled", ErrDenied, ""},
		{429, "rateLimitExceeded", "The object b/p/k exceeded the rate limit", ErrUnavailable, ""},
		{408, "uploadBrokenConnection", "no", ErrUnavailable, ""},
		{410, "gone", "no", ErrUnavailable, ""},
		{500, "backendError", "no", ErrUnavailable, ""},
		{503, "backendError", "no", ErrUnavailable, ""},
		{400, "badRequest", "you sent " + testToken + " and ya29.other-geheim-token and " + testSubjectToken, nil, ""},
	} {
		t.Run(fmt.Sprint(test.status, " ", test.message), func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, func(w http.ResponseWriter, _ *http.Request) { refuseJSON(w, test.status, test.reason, test.message) })
			b.found.Store(true)
			_, err := b.Get(t.Context(), "k")
			checkError(t, err, test.want, test.hint)
			if !strings.HasPrefix(err.Error(), `read object "p/k" in bucket "b" at http://127.0.0.1:`) || !strings.Contains(err.Error(), "(request R1)") {
				t.Errorf("error doesn't say what was tried and the request: %v", err)
			}
			if strings.Contains(err.Error(), "ya29.other") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("token in error: %v", err)
			}
		})
	}
}

// TestGCSErrorWithoutJSON is what a proxy answers.
func TestGCSErrorWithoutJSON(t *testing.T) {
	t.Parallel()
	b := serveGCS(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><title>502</title></html>")
	})
	_, err := b.Stat(t.Context(), "k")
	checkError(t, err, ErrUnavailable, "")
	if !strings.HasSuffix(err.Error(), "HTTP status 502") {
		t.Error(err)
	}
}

// TestGCSTokenStaysWithTheStore has a server that sends clients to another one.
func TestGCSTokenStaysWithTheStore(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s came with %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/x", http.StatusFound) })
	_, getErr := b.Get(t.Context(), "k")
	for _, err := range []error{getErr, b.Create(t.Context(), "k", nil), b.Delete(t.Context(), "k")} {
		if err == nil || !strings.Contains(err.Error(), "HTTP status 302") {
			t.Errorf("%v", err)
		}
	}
}

// TestGCSMissingBucketIsExplained has a server that says the same of both.
func TestGCSMissingBucketIsExplained(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		list int
		want error
	}{
		"missing bucket": {404, ErrNoBucket}, "missing object": {200, ErrNotExist}, "may not list": {403, ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/o") && test.list == http.StatusOK {
					answerJSON(w, map[string]any{})
					return
				}
				status := http.StatusNotFound
				if strings.HasSuffix(r.URL.Path, "/o") {
					status = test.list
				}
				refuseJSON(w, status, "x", "Not Found")
			})
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, test.want, "")
		})
	}
}

func TestGCSIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]func(http.ResponseWriter){
		"busy":        func(w http.ResponseWriter) { refuseJSON(w, 503, "backendError", "busy") },
		"rate":        func(w http.ResponseWriter) { refuseJSON(w, 429, "rateLimitExceeded", "slow down") },
		"rate as 403": func(w http.ResponseWriter) { refuseJSON(w, 403, "rateLimitExceeded", "slow down") },
		"broken":      func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			b := serveGCS(t, nil, func(w http.ResponseWriter, _ *http.Request) {
				if requests.Add(1) < maxAttempts {
					refusal(w)
					return
				}
				answerJSON(w, map[string]any{"name": "p/k", "size": "1", "generation": "7"})
			})
			info, err := b.Stat(t.Context(), "k")
			if err != nil || info.ETag != "7" || info.Key != "k" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

func TestGCSDown(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for name, url := range map[string]string{"refused": server.URL, "no such host": "http://store.invalid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				answerJSON(w, map[string]any{"access_token": testToken, "issued_token_type": "x", "expires_in": 3600})
			}))
			t.Cleanup(tokens.Close)
			b := gcsAt(t, tokens.URL, map[string]string{"storeEndpoint": url})
			start := time.Now()
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, ErrUnavailable, "check that the store runs")
			checkError(t, b.Put(t.Context(), "k", strings.NewReader("x")), ErrUnavailable, "check that the store runs")
			checkError(t, b.Put(t.Context(), "k", strings.NewReader(strings.Repeat("x", 2<<20))), ErrUnavailable, "check that the store runs")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestGCSCancelledIsNotUnavailable(t *testing.T) {
	t.Parallel()
	b := serveGCS(t, nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("told to stop")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	_, err := b.Stat(ctx, "k")
	checkError(t, err, nil, "")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) || !strings.HasSuffix(err.Error(), ": told to stop") {
		t.Errorf("error %v", err)
	}
}

func TestGCSUntrustedCertificate(t *testing.T) {
	t.Parallel()
	server := tlsServer(t)
	b := serveGCS(t, map[string]string{"storeEndpoint": server.URL}, nil)
	_, err := b.Stat(t.Context(), "k")
	checkError(t, err, nil, "caCertRef")
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	b = serveGCS(t, map[string]string{"storeEndpoint": "https" + strings.TrimPrefix(plain.URL, "http")}, nil)
	_, err = b.Get(t.Context(), "k")
	checkError(t, err, nil, "speaks plain http")
	b = serveGCS(t, map[string]string{"storeEndpoint": "http" + strings.TrimPrefix(server.URL, "https")}, nil)
	_, err = b.Get(t.Context(), "k")
	checkError(t, err, nil, "must start with https://")
}

// contentServer serves an object of some bytes; each answer breaks behind so many
// bytes as broken says for it, if any.
type contentServer struct {
	body       string
	generation func(request int) int
	broken     func(request int) int

	mu       sync.Mutex
	requests int // guarded by mu
}

func (s *contentServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	request := s.requests
	s.mu.Unlock()
	generation := fmt.Sprint(s.generation(request))
	if asked := r.URL.Query().Get("generation"); asked != "" && asked != generation {
		refuseJSON(w, http.StatusNotFound, "notFound", "No such object: b/p/k")
		return
	}
	from := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.body)-1, len(s.body)))
	}
	w.Header().Set("X-Goog-Generation", generation)
	w.Header().Set("Content-Length", fmt.Sprint(len(s.body)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	rest := s.body[from:]
	_, _ = io.WriteString(w, rest[:min(len(rest), s.broken(request))]) // the client's error says more
	if len(rest) > s.broken(request) {
		_ = http.NewResponseController(w).Flush() // as above
		panic(http.ErrAbortHandler)
	}
}

func TestGCSReadIsTakenUp(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("0123456789", 1000)
	one := func(int) int { return 1 }
	for name, test := range map[string]struct {
		generation, broken func(int) int
		want               string // of the error
		temporary          bool
	}{
		"often":       {one, func(int) int { return 700 }, "", false},
		"once":        {one, func(request int) int { return 5000 * request }, "", false},
		"no progress": {one, func(request int) int { return 700 * max(0, 2-request) }, "every connection breaks before a byte has come", true},
		"replaced":    {func(request int) int { return request }, func(int) int { return 700 }, "it was replaced or deleted while it was read", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &contentServer{body: body, generation: test.generation, broken: test.broken}
			b := serveGCS(t, nil, server.ServeHTTP)
			r, err := b.Get(t.Context(), "k")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			if test.want == "" {
				if err != nil || string(got) != body {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || Temporary(err) != test.temporary || errors.Is(err, ErrNotExist) {
				t.Errorf("%v", err)
			}
			if !strings.HasPrefix(body, string(got)) {
				t.Error("wrong content")
			}
		})
	}
}

// TestGCSReadComparesTheChecksum has a server that sends other bytes than it has.
func TestGCSReadComparesTheChecksum(t *testing.T) {
	t.Parallel()
	b := serveGCS(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Goog-Hash", "crc32c=AAAAAA==")
		fmt.Fprint(w, "content")
	})
	r, err := b.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err == nil || !strings.Contains(err.Error(), "bad CRC") {
		t.Errorf("%v", err)
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	testAccessKey = "AKIDTEST"
	testSecretKey = "geheim/schluessel+1"
)

// openAt opens bucket b at a server of the test.
func openAt(t *testing.T, url string, config map[string]string) *s3Bucket {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cloud")
	body := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", testAccessKey, testSecretKey)
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	l := Location{Provider: "aws", Bucket: "b", Prefix: "p", CredentialsFile: file, Config: map[string]string{
		"s3Url": url, "s3ForcePathStyle": "true",
	}}
	for k, v := range config {
		l.Config[k] = v
	}
	opened, err := Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return opened.(*s3Bucket)
}

// serve opens bucket b at a server that answers every request with handler.
func serve(t *testing.T, config map[string]string, handler http.HandlerFunc) *s3Bucket {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return openAt(t, server.URL, config)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("X-Amz-Request-Id", "R1")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

func TestErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status        int
		code, message string
		want          error
		hint          string
	}{
		{404, "NoSuchBucket", "no", ErrNoBucket, `create the bucket "b"`},
		{404, "NoSuchKey", "no", ErrNotExist, ""},
		{403, "InvalidAccessKeyId", "no", ErrDenied, "doesn't know this access key"},
		{404, "XAdminUserNotFound", "no", ErrDenied, "doesn't know this access key"},
		{403, "SignatureDoesNotMatch", "no", ErrDenied, "secret key doesn't belong"},
		{403, "AccessDenied", "no", ErrDenied, "s3:GetObject"},
		{403, "SomethingNew", "no", ErrDenied, "s3:GetObject"},
		{400, "ExpiredToken", "no", ErrDenied, "renew"},
		{403, "RequestTimeTooSkewed", "no", ErrDenied, "correct the clock of this machine, which says"},
		{503, "SlowDown", "no", ErrUnavailable, ""},
		{500, "InternalError", "no", ErrUnavailable, ""},
		{501, "NotImplemented", "no", nil, "checksumAlgorithm"},
		{403, "AccessDenied", "you sent " + testSecretKey + " and X-Amz-Signature=0123abc Credential=AKIDTEST/x", ErrDenied, ""},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			b := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) { refuse(w, test.status, test.code, test.message) })
			_, err := b.Get(t.Context(), "k")
			checkError(t, err, test.want, test.hint)
			if !strings.HasPrefix(err.Error(), `read object "p/k" in bucket "b" at http://127.0.0.1:`) {
				t.Errorf("error doesn't start with what was tried: %v", err)
			}
			if !strings.Contains(err.Error(), "(request R1)") {
				t.Errorf("no request id in: %v", err)
			}
			if Temporary(err) != (test.want == ErrUnavailable) {
				t.Errorf("Temporary = %v", Temporary(err))
			}
		})
	}
}

// checkError looks for the sentinel, the hint, and secrets.
func checkError(t *testing.T, err, want error, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, kind := range []error{ErrNotExist, ErrExists, ErrNoBucket, ErrDenied, ErrUnavailable} {
		if is := errors.Is(err, kind); is != (kind == want) {
			t.Errorf("errors.Is(err, %q) = %v: %v", kind, is, err)
		}
	}
	if _, got, _ := strings.Cut(err.Error(), "hint: "); !strings.Contains(got, hint) {
		t.Errorf("hint isn't about %q: %v", hint, err)
	}
	for _, secret := range []string{testSecretKey, "geheim", "0123abc", "AKIDTEST/x"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("secret %q in error: %v", secret, err)
		}
	}
}

func TestStatExplainsAnAnswerWithoutBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		headStatus int
		listStatus int
		listCode   string
		want       error
	}{
		{"missing object", 404, 200, "", ErrNotExist},
		{"missing bucket", 404, 404, "NoSuchBucket", ErrNoBucket},
		{"unknown key", 404, 404, "XAdminUserNotFound", ErrDenied},
		{"may not list", 404, 403, "AccessDenied", ErrNotExist},
		{"wrong secret", 403, 403, "SignatureDoesNotMatch", ErrDenied},
		{"may not read", 403, 200, "", ErrDenied},
		{"expired", 400, 400, "ExpiredToken", ErrDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodHead:
					w.WriteHeader(test.headStatus)
				case test.listStatus == http.StatusOK:
					fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
				default:
					refuse(w, test.listStatus, test.listCode, "no")
				}
			})
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, test.want, "")
		})
	}
}

func TestStoreDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"refused": "http://" + address, "no such host": "http://store.invalid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openAt(t, url, nil)
			start := time.Now()
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, ErrUnavailable, "check that the store runs")
			checkError(t, b.Put(t.Context(), "k", strings.NewReader("x")), ErrUnavailable, "check that the store runs")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestVirtualHostHint(t *testing.T) {
	t.Parallel()
	b := openAt(t, "http://store.invalid", map[string]string{"s3ForcePathStyle": "false"})
	b.bucket = "velero" // a name that can be a host's
	_, err := b.Stat(t.Context(), "k")
	checkError(t, err, ErrUnavailable, `"s3ForcePathStyle" of the location to "true"`)
}

func TestCancelledIsNotUnavailable(t *testing.T) {
	t.Parallel()
	b := serve(t, nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("told to stop")
	time.AfterFunc(50*time.Millisecond, func() { cancel(why) })
	_, err := b.Stat(ctx, "k")
	checkError(t, err, nil, "")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("error %v", err)
	}
	if !strings.HasSuffix(err.Error(), ": told to stop") {
		t.Errorf("error doesn't end in the cause: %v", err)
	}
}

// tlsServer has nothing, and doesn't log whom it turns away.
func tlsServer(t *testing.T) *httptest.Server {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	server := tlsServer(t)
	_, err := openAt(t, server.URL, nil).Stat(t.Context(), "k")
	checkError(t, err, nil, "caCertRef")
	_, err = openAt(t, server.URL, map[string]string{"insecureSkipTLSVerify": "true"}).Stat(t.Context(), "k")
	checkError(t, err, ErrNotExist, "")
}

func TestWrongScheme(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	_, err := openAt(t, "https"+strings.TrimPrefix(server.URL, "http"), nil).Get(t.Context(), "k")
	checkError(t, err, nil, "speaks plain http")
	secure := tlsServer(t)
	_, err = openAt(t, "http"+strings.TrimPrefix(secure.URL, "https"), nil).Get(t.Context(), "k")
	checkError(t, err, nil, "https://")
}

func TestDiscoverRegion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		region string
		want   error
	}{
		{"found", 200, "eu-central-1", nil},
		{"elsewhere", 301, "eu-central-1", nil},
		{"refused", 403, "eu-central-1", nil},
		{"no bucket", 404, "", ErrNoBucket},
		{"refused without region", 403, "", ErrDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Error("the request is signed")
				}
				if test.region != "" {
					w.Header().Set("X-Amz-Bucket-Region", test.region)
				}
				w.WriteHeader(test.status)
			}))
			t.Cleanup(server.Close)
			b := &s3Bucket{bucket: "b", config: settings.S3{PathStyle: true}, secrets: &secretKeeper{}}
			got, err := b.discoverRegion(t.Context(), aws.Config{}, server.URL)
			if test.want != nil {
				checkError(t, err, test.want, "")
				return
			}
			if err != nil || got != test.region {
				t.Errorf("region %q, %v", got, err)
			}
		})
	}
}

func TestWrongRegion(t *testing.T) {
	t.Parallel()
	b := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-central-1")
		refuse(w, http.StatusMovedPermanently, "PermanentRedirect", "elsewhere")
	})
	_, err := b.Get(t.Context(), "k")
	checkError(t, err, nil, `in region "eu-central-1"`)
}

func TestPutSendsTheLocationsSettings(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	b := serve(t, map[string]string{"kmsKeyId": "key1", "tagging": "a=1&b=2", "checksumAlgorithm": "SHA256"},
		func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	if err := b.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	header := <-got
	for name, want := range map[string]string{
		"X-Amz-Server-Side-Encryption":                "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key1",
		"X-Amz-Tagging":                               "a=1&b=2",
		"X-Amz-Checksum-Sha256":                       "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=",
		"Content-Length":                              "1",
	} {
		if header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, header.Get(name), want)
		}
	}
}

func TestNoChecksum(t *testing.T) {
	t.Parallel()
	b := serve(t, map[string]string{"checksumAlgorithm": ""}, func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			if strings.Contains(strings.ToLower(name), "checksum") || name == "X-Amz-Trailer" {
				t.Errorf("%s %s has header %s", r.Method, r.URL, name)
			}
		}
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	b.found.Store(true)
	if err := b.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if err := b.Create(t.Context(), "k", []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestBusyStoreIsAskedAgain(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "content" {
			t.Errorf("body %q, %v", body, err)
		}
		if requests.Add(1) < maxAttempts {
			refuse(w, http.StatusServiceUnavailable, "SlowDown", "busy")
		}
	})
	if err := b.Put(t.Context(), "k", strings.NewReader("content")); err != nil {
		t.Error(err)
	}
}

func TestCreateWithoutConditionalWrites(t *testing.T) {
	t.Parallel()
	var puts atomic.Int32
	b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Header.Get("If-None-Match") != "":
			refuse(w, http.StatusNotImplemented, "NotImplemented", "a header you provided implies functionality that is not implemented")
		case r.Method == http.MethodPut:
			puts.Add(1)
		}
	})
	b.found.Store(true)
	if err := b.Create(t.Context(), "k", []byte("x")); err != nil || puts.Load() != 1 {
		t.Errorf("%d writes, %v", puts.Load(), err)
	}
}

func TestCreateMeetsAnother(t *testing.T) {
	t.Parallel()
	var puts atomic.Int32
	b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case puts.Add(1) == 1:
			refuse(w, http.StatusConflict, "ConditionalRequestConflict", "another")
		default:
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "there")
		}
	})
	b.found.Store(true)
	checkError(t, b.Create(t.Context(), "k", []byte("x")), ErrExists, "")
}

func TestCredentialsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	two := write("two", "[default]\naws_access_key_id=K1\naws_secret_access_key=geheim1\n[other]\naws_access_key_id=K2\naws_secret_access_key=geheim2\n")
	for _, test := range []struct {
		name, file string
		config     map[string]string
		wantKey    string
		wantError  string
	}{
		{name: "default profile", file: two, wantKey: "K1"},
		{name: "profile", file: two, config: map[string]string{"profile": "other"}, wantKey: "K2"},
		{name: "of the config", file: filepath.Join(dir, "missing"), config: map[string]string{"credentialsFile": two}, wantKey: "K1"},
		{name: "mounted one first", file: write("first", "[default]\naws_access_key_id=K0\naws_secret_access_key=geheim\n"), config: map[string]string{"credentialsFile": two}, wantKey: "K0"},
		{name: "missing profile", file: two, config: map[string]string{"profile": "none"}, wantError: `no profile "none" in credentials file`},
		{name: "missing file of the config", config: map[string]string{"credentialsFile": "/nowhere/c"}, wantError: `config key "credentialsFile": stat /nowhere/c`},
		{name: "no profile line", file: write("noprofile", "aws_access_key_id=K1\naws_secret_access_key=geheim\n"), wantError: `no profile "default" in credentials file`},
		{name: "not a file of this kind", file: write("json", `{"secret":"geheim"}`), wantError: `no profile "default" in credentials file`},
		{name: "half a key", file: write("half", "[default]\naws_access_key_id=geheim\n"), wantError: "credentials file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := map[string]string{"region": "eu-west-1"}
			for k, v := range test.config {
				config[k] = v
			}
			opened, err := Open(t.Context(), Location{Provider: "aws", Bucket: "b", Config: config, CredentialsFile: test.file})
			if test.wantError != "" {
				if err == nil {
					t.Fatal("no error")
				}
				if !strings.Contains(err.Error(), test.wantError) || strings.Contains(err.Error(), "geheim") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := opened.(*s3Bucket).secrets.Retrieve(t.Context())
			if diff := cmp.Diff(test.wantKey, c.AccessKeyID); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

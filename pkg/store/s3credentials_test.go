package store

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestExpiredTokenInALongUpload replaces the mounted credentials while an upload is
// under way: the server takes the old token for the first parts only.
func TestExpiredTokenInALongUpload(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cloud")
	write := func(token string) {
		body := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\naws_session_token=%s\n", testAccessKey, testSecretKey, token)
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("geheim-one")
	var parts atomic.Int32
	var renew sync.Once
	server := serveUploads(t, func(w http.ResponseWriter, r *http.Request) bool {
		valid := "geheim-one"
		if r.URL.Query().Has("partNumber") && parts.Add(1) > 3 || parts.Load() > 3 {
			valid = "geheim-two"
			renew.Do(func() { write(valid) })
		}
		if r.Header.Get("X-Amz-Security-Token") != valid {
			refuse(w, http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
			return false
		}
		return true
	})
	opened, err := Open(t.Context(), Location{Provider: "aws", Bucket: "b", CredentialsFile: file, Config: map[string]string{
		"s3Url": server, "s3ForcePathStyle": "true", "partSizeMiB": "5",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Put(t.Context(), "k", bytes.NewReader(make([]byte, 40<<20))); err != nil {
		t.Error(err)
	}
	if parts.Load() < 8 {
		t.Errorf("%d parts", parts.Load())
	}
	// Nobody renews it again.
	write("geheim-three")
	parts.Store(0)
	err = opened.Put(t.Context(), "k", strings.NewReader("x"))
	checkError(t, err, ErrDenied, "renew")
}

// serveUploads answers like a store to the requests of uploads that check lets pass.
func serveUploads(t *testing.T, check func(http.ResponseWriter, *http.Request) bool) (url string) {
	t.Helper()
	b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil || !check(w, r) {
			return
		}
		w.Header().Set("Etag", `"1"`)
		switch {
		case r.URL.Query().Has("uploads"):
			fmt.Fprint(w, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
		case r.Method == http.MethodPost:
			fmt.Fprint(w, "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")
		}
	})
	return b.config.Endpoint
}

// TestClockIsCorrected has a server whose clock is an hour ahead, and refuses what is
// signed more than 15 minutes off.
func TestClockIsCorrected(t *testing.T) {
	t.Parallel()
	const ahead = time.Hour
	var refused, always atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) bool {
		now := time.Now().Add(ahead).UTC()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || now.Sub(signed).Abs() > 15*time.Minute || always.Load() > 0 {
			refused.Add(1)
			refuse(w, http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
			return false
		}
		return true
	}
	b := openAt(t, serveUploads(t, handler), nil)
	for range 3 {
		if err := b.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
			t.Error(err)
		}
	}
	if refused.Load() != 1 {
		t.Errorf("%d requests were refused", refused.Load())
	}
	always.Store(1)
	err := b.Put(t.Context(), "k", strings.NewReader("x"))
	checkError(t, err, ErrDenied, "or of the store, which says "+time.Now().Add(ahead).UTC().Format(time.DateOnly))
}

func TestCustomerKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	short := filepath.Join(dir, "short")
	for file, body := range map[string]string{key: strings.Repeat("k", 32), short: "too short\n"} {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := map[string]string{"region": "x", "customerKeyEncryptionFile": key}
	secret := map[string]string{"region": "x", "customerKeyEncryptionSecret": "s/k"}
	for name, test := range map[string]struct {
		config map[string]string
		path   string
		want   string
	}{
		"file":        {file, "", ""},
		"secret":      {secret, key, ""},
		"not mounted": {secret, "", `open storage location: config key "customerKeyEncryptionSecret": key "k" of Secret "s" is not mounted here`},
		"missing":     {secret, filepath.Join(dir, "none"), "read the customer's encryption key: open "},
		"short":       {secret, short, "has 10 bytes instead of 32; hint: make one with: head -c 32 /dev/urandom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := Open(t.Context(), Location{Provider: "aws", Bucket: "b", Config: test.config, CustomerKeyFile: test.path})
			if test.want == "" {
				if err != nil || b.(*s3Bucket).customer.key == nil {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// TestCustomerKeyIsSent looks at every kind of request. The key would not be taken
// together with http from a location's config.
func TestCustomerKeyIsSent(t *testing.T) {
	t.Parallel()
	const prefix = "X-Amz-Server-Side-Encryption-Customer-"
	var knows atomic.Bool
	knows.Store(true)
	var seen sync.Map
	url := serveUploads(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			return true
		}
		for _, name := range []string{"Algorithm", "Key", "Key-Md5"} {
			if r.Header.Get(prefix+name) == "" {
				t.Errorf("%s %s has no %s", r.Method, r.URL, name)
			}
		}
		seen.Store(fmt.Sprint(r.Method, r.URL.Query().Has("uploads"), r.URL.Query().Has("uploadId"), r.Header.Get("Range") != ""), true)
		if knows.Load() {
			w.Header().Set(prefix+"Algorithm", "AES256")
		}
		return true
	})
	b := openAt(t, url, map[string]string{"partSizeMiB": "5"})
	text := "geheim"
	b.customer = customerKey{algorithm: ptr("AES256"), key: &text, md5: ptr("sum")}
	large := bytes.NewReader(make([]byte, 6<<20))
	if err := b.Put(t.Context(), "k", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if err := b.Put(t.Context(), "k", large); err != nil {
		t.Error(err)
	}
	_, _ = b.Get(t.Context(), "k")
	_, _ = b.GetRange(t.Context(), "k", 1, 2)
	_, _ = b.Stat(t.Context(), "k")
	kinds := 0
	seen.Range(func(any, any) bool { kinds++; return true })
	if kinds != 7 {
		t.Errorf("%d kinds of requests", kinds)
	}

	// A server that ignores the key gets nothing to keep.
	knows.Store(false)
	large.Reset(make([]byte, 6<<20))
	for _, err := range []error{b.Put(t.Context(), "k", strings.NewReader("x")), b.Put(t.Context(), "k", large)} {
		checkError(t, err, nil, "nothing was stored")
	}
}

func ptr(s string) *string { return &s }

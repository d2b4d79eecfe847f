//go:build integration

package store_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// customerKeyFile has a new key of SSE-C.
func customerKeyFile(t *testing.T) string {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestNewObjectsS3 writes with each setting about new objects, and asks the server
// what became of it.
func TestNewObjectsS3(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{Program: testenv.MinIO, TLS: true})
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		config map[string]string
		want   func(*s3.HeadObjectOutput) bool
	}{
		"SSE-S3": {map[string]string{"serverSideEncryption": "AES256"}, func(o *s3.HeadObjectOutput) bool { return o.ServerSideEncryption == "AES256" }},
		"SSE-KMS": {map[string]string{"kmsKeyId": testenv.KMSKey}, func(o *s3.HeadObjectOutput) bool {
			return strings.HasSuffix(aws.ToString(o.SSEKMSKeyId), testenv.KMSKey)
		}},
		"storage class": {map[string]string{"storageClass": "REDUCED_REDUNDANCY"}, func(o *s3.HeadObjectOutput) bool { return o.StorageClass == "REDUCED_REDUNDANCY" }},
		"tags":          {map[string]string{"tagging": "team=shop&of=us"}, func(o *s3.HeadObjectOutput) bool { return aws.ToInt32(o.TagCount) == 2 }},
		"one tag":       {map[string]string{"tagging": "team=shop"}, func(o *s3.HeadObjectOutput) bool { return aws.ToInt32(o.TagCount) == 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bucket := strings.ToLower(strings.ReplaceAll(name, " ", "-"))
			b := bucketAt(t, server, bucket, "", test.config)
			storetest.Writes(t, b, partSize)
			for o, err := range b.List(t.Context(), "") {
				if err != nil {
					t.Fatal(err)
				}
				head, err := client.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &bucket, Key: &o.Key})
				if err != nil || !test.want(head) {
					t.Errorf("%s: %+v, %v", o.Key, head, err)
				}
			}
		})
	}
}

func TestCustomerKeyS3(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{Program: testenv.MinIO, TLS: true})
	if err := server.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	at := func(config map[string]string, mounted string) store.Location {
		l := server.Location("bucket", "")
		l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
		maps.Copy(l.Config, config)
		l.CustomerKeyFile = mounted
		return l
	}
	key := customerKeyFile(t)
	bySecret := open(t, at(map[string]string{"customerKeyEncryptionSecret": "sse/key"}, key))
	storetest.Writes(t, bySecret, partSize)
	want := make([]byte, 2*partSize)
	put(t, bySecret, "k", want)
	byFile := open(t, at(map[string]string{"customerKeyEncryptionFile": key}, ""))
	checkContent(t, byFile, "k", want)
	r, err := byFile.GetRange(t.Context(), "k", partSize-1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); len(got) != 2 || err != nil {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}
	for name, l := range map[string]store.Location{
		"no key":      at(nil, ""),
		"another key": at(map[string]string{"customerKeyEncryptionSecret": "sse/key"}, customerKeyFile(t)),
	} {
		b := open(t, l)
		_, getErr := b.Get(t.Context(), "k")
		_, statErr := b.Stat(t.Context(), "k")
		for call, err := range map[string]error{"get": getErr, "stat": statErr} {
			if err == nil || !strings.Contains(err.Error(), "customerKeyEncryption") && (name != "no key" || call != "stat") || store.Temporary(err) {
				t.Errorf("%s, %s: %v", name, call, err)
			}
		}
		if err := b.Delete(t.Context(), "size/0"); err != nil {
			t.Errorf("%s: delete: %v", name, err)
		}
	}
	if err := byFile.Delete(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

// TestServerThatIgnoresTheCustomerKey has Versity, which knows nothing of SSE-C.
func TestServerThatIgnoresTheCustomerKey(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{TLS: true})
	b := bucketAt(t, server, "bucket", "", map[string]string{"customerKeyEncryptionFile": customerKeyFile(t)})
	for size, err := range map[int]error{
		1:            b.Put(t.Context(), "small", strings.NewReader("x")),
		2 * partSize: b.Put(t.Context(), "large", io.LimitReader(rand.Reader, 2*partSize)),
		2:            b.Create(t.Context(), "created", []byte("x")),
	} {
		if err == nil || !strings.Contains(err.Error(), "the server ignores the customer's encryption key; hint: nothing was stored") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	storetest.CheckNothingLeft(t, b)
}

// TestDefaultRetentionS3 writes into buckets that lock what is new, also with the
// checksum that is as old as S3.
func TestDefaultRetentionS3(t *testing.T) {
	t.Parallel()
	for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
		for name, checksum := range map[string]string{"crc32": "CRC32", "none": ""} {
			t.Run(fmt.Sprint(program, " ", name), func(t *testing.T) {
				t.Parallel()
				server := startS3(t, testenv.StartOptions{Program: program, Versions: true})
				if err := server.CreateLockingBucket(t.Context(), "locking"); err != nil {
					t.Fatal(err)
				}
				if err := server.LockNew(t.Context(), "locking", 2); err != nil {
					t.Fatal(err)
				}
				b := bucketAt(t, server, "locking", "", map[string]string{"checksumAlgorithm": checksum})
				put(t, b, "k", make([]byte, 2*partSize))
				if err := b.Create(t.Context(), "created", []byte("x")); err != nil {
					t.Fatal(err)
				}
				if program == testenv.MinIO {
					// Versity counts from when the rule was made, and tells nobody of
					// which objects that is true.
					checkRetained(t, b, "k")
					checkRetained(t, b, "created")
				}
				got, err := b.(store.Inspector).Inspect(t.Context())
				if err != nil || got.Lock != store.Yes || got.Versioning != store.Yes || !strings.HasSuffix(got.LockRule, ", 2 days") {
					t.Errorf("inspect: %+v, %v", got, err)
				}
				if skew := got.ServerTime.Sub(got.LocalTime).Abs(); skew > 3*time.Second {
					t.Errorf("clocks differ by %s", skew)
				}
			})
		}
	}
}

func checkRetained(t *testing.T, b store.Bucket, key string) {
	t.Helper()
	err := b.Delete(t.Context(), key)
	var locked *store.LockedError
	if !errors.As(err, &locked) || time.Until(locked.Until) < 47*time.Hour || time.Until(locked.Until) > 49*time.Hour {
		t.Errorf("delete: %v", err)
	}
	if _, err := b.Stat(t.Context(), key); err != nil {
		t.Errorf("it isn't visible any more: %v", err)
	}
}

// TestAbortUploadsBelowAPrefix is about MinIO, which doesn't list them there.
func TestAbortUploadsBelowAPrefix(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{Program: testenv.MinIO})
	b := bucketAt(t, server, "bucket", "pre", nil)
	for _, key := range []string{"pre/backups/one/one.tar.gz", "pre/backups/two/x", "other/backups/one/x"} {
		if err := server.BeginUpload(t.Context(), "bucket", key, "part"); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{1, 0} {
		if n, err := b.(store.UploadAborter).AbortUploads(t.Context(), "backups/one/"); n != want || err != nil {
			t.Errorf("%d aborted, want %d, %v", n, want, err)
		}
	}
	if left, err := server.Uploads(t.Context(), "bucket"); len(left) != 2 || err != nil {
		t.Errorf("left: %q, %v", left, err)
	}
}

// TestBusyServerS3 has a proxy before the server that says every third time that it
// is busy, and answers for it.
func TestBusyServerS3(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{})
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	forward := httputil.NewSingleHostReverseProxy(target)
	answers := []struct {
		status int
		code   string
	}{{503, "SlowDown"}, {500, "InternalError"}, {503, "ServiceUnavailable"}, {502, ""}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := requests.Add(1); n%3 == 0 {
			a := answers[int(n/3)%len(answers)]
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(a.status)
			if a.code != "" && r.Method != http.MethodHead {
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>busy</Message></Error>", a.code)
			}
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	l := server.Location("bucket", "")
	if err := server.CreateBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
	l.Config["s3Url"] = proxy.URL
	b := open(t, l)
	want := make([]byte, 4*partSize+1)
	put(t, b, "large", want)
	if err := b.Create(t.Context(), "small", []byte("x")); err != nil && !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	checkContent(t, b, "large", want)
	if err := b.Delete(t.Context(), "large", "small"); err != nil {
		t.Error(err)
	}
	storetest.CheckNothingLeft(t, b)
}

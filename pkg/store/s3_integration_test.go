//go:build integration

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func startS3(t *testing.T, o testenv.StartOptions) *testenv.S3Server {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	server, err := testenv.StartS3(t.Context(), o)
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

// bucketAt makes a bucket and opens it, with small parts.
func bucketAt(t *testing.T, server *testenv.S3Server, name, prefix string, config map[string]string) store.Bucket {
	t.Helper()
	if err := server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	l := server.Location(name, prefix)
	l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
	for k, v := range config {
		l.Config[k] = v
	}
	if config["insecureSkipTLSVerify"] == "true" {
		l.CACert = nil
	}
	return open(t, l)
}

func open(t *testing.T, l store.Location) store.Bucket {
	t.Helper()
	b, err := store.Open(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSettingsS3 writes and reads with settings other than the default.
func TestSettingsS3(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]map[string]string{
		"not verified": {"insecureSkipTLSVerify": "true"},
		"SHA256":       {"checksumAlgorithm": "SHA256"},
		"CRC32C":       {"checksumAlgorithm": "CRC32C"},
		"no checksums": {"checksumAlgorithm": ""},
	} {
		for _, tls := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, TLS %v", name, tls), func(t *testing.T) {
				t.Parallel()
				b := bucketAt(t, startS3(t, testenv.StartOptions{TLS: tls}), "bucket", "", config)
				storetest.Writes(t, b, partSize)
			})
		}
	}
}

// TestPrefixesAreApart has two locations in one bucket.
func TestPrefixesAreApart(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{})
	one, two := bucketAt(t, server, "shared", "one", nil), bucketAt(t, server, "shared", "one-more", nil)
	put(t, one, "k", []byte("1"))
	put(t, two, "k", []byte("2"))
	checkContent(t, one, "k", []byte("1"))
	if err := two.Delete(t.Context(), keys(t, two, "")...); err != nil {
		t.Fatal(err)
	}
	checkContent(t, one, "k", []byte("1"))
}

// everyCall makes each call of a Bucket and gives the errors.
func everyCall(ctx context.Context, b store.Bucket) map[string]error {
	errs := map[string]error{
		"put":       b.Put(ctx, "k", strings.NewReader("x")),
		"put large": b.Put(ctx, "k", io.LimitReader(rand.NewChaCha8([32]byte{}), 2*partSize)),
		"create":    b.Create(ctx, "k", []byte("x")),
		"delete":    b.Delete(ctx, "k"),
	}
	_, errs["get"] = b.Get(ctx, "k")
	_, errs["range"] = b.GetRange(ctx, "k", 1, 2)
	_, errs["stat"] = b.Stat(ctx, "k")
	_, errs["prefixes"] = b.Prefixes(ctx, "")
	for _, err := range b.List(ctx, "") {
		errs["list"] = err
	}
	_, errs["abort"] = b.(store.UploadAborter).AbortUploads(ctx, "")
	return errs
}

func TestRefusalsS3(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{AccessKey: "admin", SecretKey: "geheim-1"})
	if err := server.CreateBucket(t.Context(), "there"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		bucket, accessKey, secretKey string
		want                         error
		hint                         string
	}{
		"no bucket":    {"nowhere", "admin", "geheim-1", store.ErrNoBucket, `create the bucket "nowhere"`},
		"unknown key":  {"there", "nobody", "geheim-1", store.ErrDenied, "doesn't know this access key"},
		"wrong secret": {"there", "admin", "geheim-2", store.ErrDenied, "secret key doesn't belong"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := server.Location(test.bucket, "")
			l.CredentialsFile = filepath.Join(t.TempDir(), "cloud")
			l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
			if err := testenv.WriteCredentials(l.CredentialsFile, test.accessKey, test.secretKey); err != nil {
				t.Fatal(err)
			}
			for call, err := range everyCall(t.Context(), open(t, l)) {
				if !errors.Is(err, test.want) {
					t.Errorf("%s: %v", call, err)
					continue
				}
				if !strings.Contains(err.Error(), test.hint) || strings.Contains(err.Error(), "geheim") || store.Temporary(err) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// silent is a server that takes connections and says nothing.
func silent(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "http://" + listener.Addr().String()
}

func TestUnreachableS3IsToldInTime(t *testing.T) {
	t.Parallel()
	credentials := filepath.Join(t.TempDir(), "cloud")
	if err := testenv.WriteCredentials(credentials, "a", "geheim"); err != nil {
		t.Fatal(err)
	}
	// They wait, and so all at once.
	var waiting sync.WaitGroup
	for name, url := range map[string]string{"silent": silent(t), "swallowed": "http://192.0.2.1:9", "silent TLS": "https" + strings.TrimPrefix(silent(t), "http")} {
		b := open(t, store.Location{Provider: "aws", Bucket: "bucket", CredentialsFile: credentials, Config: map[string]string{"s3Url": url}})
		waiting.Go(func() {
			start := time.Now()
			err := b.Create(t.Context(), "k", []byte("x"))
			if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) || !strings.Contains(err.Error(), "; hint: check that the store runs") {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(start); took > toldWithin {
				t.Errorf("%s: took %s: %v", name, took, err)
			}
		})
	}
	waiting.Wait()
}

// TestNoCredentials must not run beside tests that look at the environment.
func TestNoCredentials(t *testing.T) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", t.TempDir())
	l := store.Location{Provider: "aws", Bucket: "bucket", CredentialsFile: "/nowhere/cloud", Config: map[string]string{"s3Url": silent(t)}}
	start := time.Now()
	_, err := open(t, l).Stat(t.Context(), "k")
	if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "hint: give the location a credentials secret") {
		t.Error(err)
	}
	if took := time.Since(start); took > toldWithin {
		t.Errorf("took %s", took)
	}
}

func TestServerKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := startS3(t, testenv.StartOptions{Root: root, AccessKey: "admin", SecretKey: "geheim"})
	b := bucketAt(t, server, "bucket", "", nil)
	r, w := io.Pipe()
	go func() {
		random := rand.NewChaCha8([32]byte{})
		_, err := io.CopyN(w, random, 4*partSize)
		if err == nil {
			err = server.Kill()
		}
		for err == nil {
			_, err = io.CopyN(w, random, partSize)
		}
	}()
	start := time.Now()
	err := b.Put(t.Context(), "dir/k", r)
	if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) || strings.Contains(err.Error(), "geheim") {
		t.Errorf("put: %v", err)
	}
	if took := time.Since(start); took > 60*time.Second {
		t.Errorf("took %s", took)
	}

	again := startS3(t, testenv.StartOptions{Root: root, AccessKey: "admin", SecretKey: "geheim", Listen: strings.TrimPrefix(server.URL, "http://")})
	if _, err := b.Stat(t.Context(), "dir/k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	// What couldn't be aborted is found later.
	if n, err := b.(store.UploadAborter).AbortUploads(t.Context(), "dir/"); n != 1 || err != nil {
		t.Errorf("%d uploads aborted, %v", n, err)
	}
	if left, err := again.Uploads(t.Context(), "bucket"); len(left) > 0 || err != nil {
		t.Errorf("uploads left: %q, %v", left, err)
	}
}

func TestTooManyParts(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{})
	b := bucketAt(t, server, "bucket", "", nil)
	store.SetMaxParts(b, 3)
	if err := b.Put(t.Context(), "fits", io.LimitReader(rand.NewChaCha8([32]byte{}), 3*partSize)); err != nil {
		t.Error(err)
	}
	err := b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), 3*partSize+1))
	if err == nil || !strings.HasSuffix(err.Error(), `: it is larger than 3 parts of 5 MiB, which is the most that can be stored (0 GiB); hint: set the config key "partSizeMiB" of the location to more than 5`) {
		t.Errorf("%v", err)
	}
	if _, err := b.Stat(t.Context(), "k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if left, err := server.Uploads(t.Context(), "bucket"); len(left) > 0 || err != nil {
		t.Errorf("uploads left: %q, %v", left, err)
	}
}

// TestPutMemory counts what an upload of many parts allocates in all, so it
// doesn't run beside others.
func TestPutMemory(t *testing.T) {
	b := open(t, testenv.S3(t))
	const size = 300 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// Two parts of 16 MiB and some for the requests.
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 42 {
		t.Errorf("an object of %d MiB took %d MiB", size>>20, got)
	}
	info, err := b.Stat(t.Context(), "k")
	if err != nil || info.Size != size {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestDefaultBucketOfTests(t *testing.T) {
	t.Parallel()
	l := testenv.S3(t)
	if _, err := os.Stat(l.CredentialsFile); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, l), "k", []byte("x"))
}

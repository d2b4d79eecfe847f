//go:build integration

package store_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azurepolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// azurePartSize is small, so that the suite is fast.
const azurePartSize = 1 << 20

// azuriteSaves is how long Azurite keeps what it knows in memory only.
const azuriteSaves = 7 * time.Second

func startAzurite(t *testing.T, o testenv.AzuriteOptions) *testenv.AzuriteServer {
	t.Helper()
	if o.Root == "" {
		o.Root = t.TempDir()
	}
	server, err := testenv.StartAzurite(t.Context(), o)
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

// azuriteBuckets opens new buckets at one server.
type azuriteBuckets struct{ server *testenv.AzuriteServer }

// location is of a new container, with small parts.
func (a *azuriteBuckets) location(t *testing.T, prefix string) store.Location {
	t.Helper()
	l, err := a.server.NewLocation(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	l.Config["partSizeMiB"] = fmt.Sprint(azurePartSize >> 20)
	return l
}

func (a *azuriteBuckets) open(t *testing.T, prefix string) store.Bucket {
	return open(t, a.location(t, prefix))
}

func (a *azuriteBuckets) through(t *testing.T, redirect func(string) string) store.Bucket {
	l := a.location(t, "")
	u, err := url.Parse(a.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = redirect(u.Host)
	l.Config["storageAccountURI"] = u.String()
	return open(t, l)
}

// client talks to a location's container as others may.
func (a *azuriteBuckets) client(t *testing.T, l store.Location) *container.Client {
	t.Helper()
	key, err := container.NewSharedKeyCredential(a.server.Account, a.server.Key)
	if err != nil {
		t.Fatal(err)
	}
	client, err := container.NewClientWithSharedKeyCredential(a.server.URL+"/"+l.Bucket, key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: azurepolicy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// locking protects objects as Azurite can: by leases that don't end.
func (a *azuriteBuckets) locking(t *testing.T) storetest.Locking {
	l := a.location(t, "")
	client := a.client(t, l)
	return storetest.Locking{
		Bucket: open(t, l),
		Hold: func(t *testing.T, key string) {
			holder, err := lease.NewBlobClient(client.NewBlobClient(key), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := holder.AcquireLease(t.Context(), -1, nil); err != nil {
				t.Fatal(err)
			}
		},
		Inspected: store.No,
	}
}

func TestConformanceAzure(t *testing.T) {
	t.Parallel()
	for name, tls := range map[string]bool{"http": false, "https": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buckets := &azuriteBuckets{testenv.Azurite(t, tls)}
			provider := storetest.Provider{Open: buckets.open, PartSize: azurePartSize, NoBackslash: true, Through: buckets.through}
			if !tls {
				provider.Locking = buckets.locking
			}
			storetest.Run(t, provider)
		})
	}
}

// TestSettingsAzure writes and reads with settings other than the default.
func TestSettingsAzure(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tls    bool
		config map[string]string
		part   int
	}{
		"blocks of Velero": {false, map[string]string{"blockSizeInBytes": "1048576", "partSizeMiB": ""}, 1 << 20},
		"odd blocks":       {false, map[string]string{"blockSizeInBytes": "300001", "partSizeMiB": ""}, 300001},
		"default parts":    {false, map[string]string{"partSizeMiB": ""}, 16 << 20},
		"not verified":     {true, map[string]string{"insecureSkipTLSVerify": "true"}, azurePartSize},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			buckets := &azuriteBuckets{testenv.Azurite(t, test.tls)}
			l := buckets.location(t, "p")
			for k, v := range test.config {
				l.Config[k] = v
			}
			if test.tls {
				l.CACert = nil
			}
			// The file may be named by config, too.
			l.Config["credentialsFile"], l.CredentialsFile = l.CredentialsFile, "/nowhere/cloud"
			storetest.Writes(t, open(t, l), test.part)
		})
	}
}

// everyAzureCall makes each call of a Bucket, all at once, and gives the errors.
func everyAzureCall(ctx context.Context, b store.Bucket) map[string]error {
	calls := map[string]func() error{
		"put": func() error { return b.Put(ctx, "k", strings.NewReader("x")) },
		"put large": func() error {
			return b.Put(ctx, "large", io.LimitReader(rand.NewChaCha8([32]byte{}), 2*azurePartSize))
		},
		"create":   func() error { return b.Create(ctx, "created", []byte("x")) },
		"delete":   func() error { return b.Delete(ctx, "k") },
		"get":      func() error { _, err := b.Get(ctx, "k"); return err },
		"range":    func() error { _, err := b.GetRange(ctx, "k", 1, 2); return err },
		"stat":     func() error { _, err := b.Stat(ctx, "k"); return err },
		"prefixes": func() error { _, err := b.Prefixes(ctx, ""); return err },
		"inspect":  func() error { _, err := b.(store.Inspector).Inspect(ctx); return err },
		"list": func() error {
			for _, err := range b.List(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	errs := map[string]error{}
	for name, call := range calls {
		group.Go(func() {
			err := call()
			mu.Lock()
			defer mu.Unlock()
			errs[name] = err
		})
	}
	group.Wait()
	return errs
}

func TestRefusalsAzure(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	there, key := buckets.location(t, "").Bucket, buckets.server.Key
	for name, test := range map[string]struct {
		bucket, account, key string
		want                 error
		hint                 string
	}{
		"no container":    {"nowhere", "testbed", key, store.ErrNoBucket, `create the container "nowhere"`},
		"wrong key":       {there, "testbed", "Z2VoZWltLTI=", store.ErrDenied, "key in the credentials secret of the location"},
		"another account": {there, "nobody", key, store.ErrDenied, "key in the credentials secret of the location"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := buckets.server.Location(test.bucket, "")
			l.Config["storageAccount"] = test.account
			l.Config["partSizeMiB"] = fmt.Sprint(azurePartSize >> 20)
			l.CredentialsFile = filepath.Join(t.TempDir(), "cloud")
			if err := os.WriteFile(l.CredentialsFile, []byte(testenv.AzureKeyVariable+"="+test.key), 0o600); err != nil {
				t.Fatal(err)
			}
			for call, err := range everyAzureCall(t.Context(), open(t, l)) {
				if !errors.Is(err, test.want) {
					t.Errorf("%s: %v", call, err)
					continue
				}
				if !strings.Contains(err.Error(), test.hint) || strings.Contains(err.Error(), test.key) || store.Temporary(err) {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

func TestUnreachableAzureIsToldInTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte("KEY=Z2VoZWlt"), 0o600); err != nil {
		t.Fatal(err)
	}
	// They wait, and so all at once.
	var waiting sync.WaitGroup
	for name, url := range map[string]string{"silent": silent(t), "swallowed": "http://192.0.2.1:9", "silent TLS": "https" + strings.TrimPrefix(silent(t), "http")} {
		for call, do := range map[string]func(store.Bucket) error{
			"create": func(b store.Bucket) error { return b.Create(t.Context(), "k", []byte("x")) },
			"put": func(b store.Bucket) error {
				return b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), 3*azurePartSize))
			},
		} {
			b := open(t, store.Location{Provider: "azure", Bucket: "bucket", CredentialsFile: file, Config: map[string]string{
				"storageAccount": "velero", "storageAccountURI": url, "storageAccountKeyEnvVar": "KEY", "partSizeMiB": "1",
			}})
			waiting.Go(func() {
				start := time.Now()
				err := do(b)
				if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) || !strings.Contains(err.Error(), "; hint: check that the store runs") {
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

func TestAzuriteKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	buckets := &azuriteBuckets{server: startAzurite(t, testenv.AzuriteOptions{Root: root})}
	b := buckets.open(t, "")
	time.Sleep(azuriteSaves)
	r, w := io.Pipe()
	go func() {
		random := rand.NewChaCha8([32]byte{})
		_, err := io.CopyN(w, random, 4*azurePartSize)
		if err == nil {
			err = buckets.server.Kill()
		}
		for err == nil {
			_, err = io.CopyN(w, random, azurePartSize)
		}
	}()
	start := time.Now()
	err := b.Put(t.Context(), "dir/k", r)
	if !errors.Is(err, store.ErrUnavailable) || !store.Temporary(err) || strings.Contains(err.Error(), buckets.server.Key) {
		t.Errorf("put: %v", err)
	}
	if took := time.Since(start); took > 60*time.Second {
		t.Errorf("took %s", took)
	}

	u, err := url.Parse(buckets.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	startAzurite(t, testenv.AzuriteOptions{Root: root, Key: buckets.server.Key, Listen: u.Host})
	if got := storetest.Keys(t, b, ""); len(got) > 0 {
		t.Errorf("objects: %q", got)
	}
	// What is left of it is in nobody's way.
	storetest.Put(t, b, "dir/k", storetest.Content(3*azurePartSize+1))
	storetest.CheckContent(t, b, "dir/k", storetest.Content(3*azurePartSize+1))
}

// TestForeignBlocks has uncommitted blocks of Velero where we write.
func TestForeignBlocks(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	l := buckets.location(t, "")
	id := base64.StdEncoding.EncodeToString([]byte("00000000"))
	if _, err := buckets.client(t, l).NewBlockBlobClient("k").StageBlock(t.Context(), id, streaming.NopCloser(strings.NewReader("left")), nil); err != nil {
		t.Fatal(err)
	}
	b := open(t, l)
	storetest.Put(t, b, "k", storetest.Content(2*azurePartSize+1))
	storetest.CheckContent(t, b, "k", storetest.Content(2*azurePartSize+1))
}

// TestUploadsDontMix has a second writer between the parts and the end of the first.
func TestUploadsDontMix(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	b := buckets.open(t, "")
	r, w := io.Pipe()
	first := make(chan error, 1)
	go func() { first <- b.Put(t.Context(), "k", r) }()
	random := rand.NewChaCha8([32]byte{})
	if _, err := io.CopyN(w, random, 3*azurePartSize); err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, b, "k", storetest.Content(2*azurePartSize+1))
	_ = w.Close()
	if err := <-first; err != nil && !(store.Temporary(err) && strings.Contains(err.Error(), "somebody else wrote this object at the same time")) {
		t.Errorf("first: %v", err)
	}
	storetest.CheckContent(t, b, "k", storetest.Content(2*azurePartSize+1))
}

func TestTooManyBlocks(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, false)}
	b := buckets.open(t, "")
	store.SetMaxBlocks(b, 3)
	if err := b.Put(t.Context(), "fits", io.LimitReader(rand.NewChaCha8([32]byte{}), 3*azurePartSize)); err != nil {
		t.Error(err)
	}
	err := b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), 3*azurePartSize+1))
	if err == nil || !strings.HasSuffix(err.Error(), `: it is larger than 3 blocks of 1048576 bytes, which is the most that can be stored (0 GiB); hint: set the config key "partSizeMiB" of the location to more than 1`) {
		t.Errorf("%v", err)
	}
	if _, err := b.Stat(t.Context(), "k"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
}

// TestPutMemoryAzure counts what an upload of many parts allocates in all, so it
// doesn't run beside others.
func TestPutMemoryAzure(t *testing.T) {
	l := testenv.Azure(t)
	l.Config["partSizeMiB"] = "5"
	b := open(t, l)
	const size = 300 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	if err := b.Put(t.Context(), "k", io.LimitReader(rand.NewChaCha8([32]byte{}), size)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f MB/s", size/time.Since(start).Seconds()/1e6)
	runtime.ReadMemStats(&after)
	// Two parts of 5 MiB and some for the requests.
	if got := (after.TotalAlloc - before.TotalAlloc) >> 20; got > 20 {
		t.Errorf("an object of %d MiB took %d MiB", size>>20, got)
	}
	info, err := b.Stat(t.Context(), "k")
	if err != nil || info.Size != size {
		t.Errorf("%+v, %v", info, err)
	}
}

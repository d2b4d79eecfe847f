//go:build integration

package store_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) {
	forgetAzure()
	testenv.ResolveNames()
	testenv.Main(m)
}

// forgetAzure keeps what the machine's environment says of Azure from the tests: it
// would win over a file. With t.Setenv they couldn't run side by side.
func forgetAzure() {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "AZURE_") || strings.HasPrefix(name, "IDENTITY_") || strings.HasPrefix(name, "MSI_") {
			_ = os.Unsetenv(name) // it is there
		}
	}
}

// toldWithin is in what time a call must tell that the store can't be reached: what
// the package allows itself, and what a busy machine adds.
const toldWithin = 30 * time.Second

// partSize is the smallest part that the tests' S3 locations can be set to.
const partSize = 5 << 20

func TestConformanceS3(t *testing.T) {
	t.Parallel()
	for _, program := range []testenv.S3Program{testenv.Versity, testenv.MinIO} {
		for scheme, tls := range map[string]bool{"http": false, "https": true} {
			t.Run(fmt.Sprint(program, " ", scheme), func(t *testing.T) {
				t.Parallel()
				server := startS3(t, testenv.StartOptions{Program: program, TLS: tls, Versions: true})
				f := &s3Fixture{server: server}
				p := storetest.Provider{Open: f.open, PartSize: partSize, Through: f.through, Locking: f.locking}
				// MinIO lists uploads of a key only, not below a prefix. It removes
				// dead ones by itself.
				if program != testenv.MinIO {
					p.Unfinished = f.unfinished
				}
				t.Run("path", func(t *testing.T) { storetest.Run(t, p) })
				hosts := &s3Fixture{server: server, hosts: true}
				t.Run("virtual host", func(t *testing.T) { storetest.Writes(t, hosts.open(t, "a prefix"), partSize) })
				t.Run("keeps versions", func(t *testing.T) { storetest.Writes(t, f.versioned(t), partSize) })
			})
		}
	}
}

// s3Fixture makes the buckets of the suite.
type s3Fixture struct {
	server *testenv.S3Server
	// hosts are buckets that are hosts, not folders.
	hosts   bool
	buckets atomic.Int32
}

func (f *s3Fixture) name(kind string) string { return fmt.Sprintf("%s-%d", kind, f.buckets.Add(1)) }

func (f *s3Fixture) open(t *testing.T, prefix string) store.Bucket {
	t.Helper()
	name := f.name("plain")
	if f.hosts {
		name = f.name("host")
	}
	if err := f.server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return f.openNamed(t, name, prefix)
}

func (f *s3Fixture) openNamed(t *testing.T, name, prefix string) store.Bucket {
	t.Helper()
	l := f.server.Location(name, prefix)
	if f.hosts {
		l = f.server.HostLocation(name, prefix)
	}
	l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
	return open(t, l)
}

func (f *s3Fixture) through(t *testing.T, redirect func(address string) string) store.Bucket {
	t.Helper()
	name := f.name("cut")
	if err := f.server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	l := f.server.Location(name, "")
	scheme, address, _ := strings.Cut(f.server.URL, "://")
	l.Config["s3Url"] = scheme + "://" + redirect(address)
	l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
	return open(t, l)
}

func (f *s3Fixture) unfinished(t *testing.T) (store.Bucket, func(*testing.T, string)) {
	t.Helper()
	name := f.name("unfinished")
	if err := f.server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return f.openNamed(t, name, "pre/fix"), func(t *testing.T, key string) {
		t.Helper()
		if err := f.server.BeginUpload(t.Context(), name, "pre/fix/"+key, "a part"); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *s3Fixture) versioned(t *testing.T) store.Bucket {
	t.Helper()
	name := f.name("versions")
	if err := f.server.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if err := f.server.KeepVersions(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return f.openNamed(t, name, "")
}

func (f *s3Fixture) locking(t *testing.T) storetest.Locking {
	t.Helper()
	name := f.name("locking")
	if err := f.server.CreateLockingBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return storetest.Locking{
		Bucket: f.openNamed(t, name, "pre/fix"),
		Retain: func(t *testing.T, key string) time.Time {
			t.Helper()
			until := time.Now().Add(time.Hour).UTC()
			if err := f.server.Retain(t.Context(), name, "pre/fix/"+key, until); err != nil {
				t.Fatal(err)
			}
			return until
		},
		Hold: func(t *testing.T, key string) {
			t.Helper()
			if err := f.server.Hold(t.Context(), name, "pre/fix/"+key, true); err != nil {
				t.Fatal(err)
			}
		},
		Versions: true,
	}
}

func put(t *testing.T, b store.Bucket, key string, body []byte) {
	t.Helper()
	storetest.Put(t, b, key, body)
}

func checkContent(t *testing.T, b store.Bucket, key string, want []byte) {
	t.Helper()
	storetest.CheckContent(t, b, key, want)
}

func keys(t *testing.T, b store.Bucket, prefix string) []string {
	t.Helper()
	return storetest.Keys(t, b, prefix)
}

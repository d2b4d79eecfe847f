package testenv

import (
	"fmt"
	"os"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// S3 returns a bucket of the test's own, as a storage location. The server is
// shared by the test binary, and ends with Main.
func S3(tb testing.TB) store.Location {
	tb.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.s3 == nil {
		dir, err := os.MkdirTemp("", "testenv-")
		if err != nil {
			tb.Fatal(err)
		}
		server, err := StartS3(tb.Context(), StartOptions{Root: dir + "/s3"})
		if err != nil {
			tb.Fatalf("%v", err)
		}
		running.s3 = server
	}
	running.buckets++
	bucket := fmt.Sprintf("test-%d", running.buckets)
	if err := running.s3.CreateBucket(tb.Context(), bucket); err != nil {
		tb.Fatal(err)
	}
	return running.s3.Location(bucket, "")
}

//go:build integration

package testenv_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestAPIServer(t *testing.T) {
	client, err := kubernetes.NewForConfig(testenv.APIServer(t))
	if err != nil {
		t.Fatal(err)
	}
	namespaces, err := client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(namespaces.Items) == 0 {
		t.Errorf("%d namespaces, %v", len(namespaces.Items), err)
	}
	if first, second := testenv.Kubeconfig(t), testenv.Kubeconfig(t); first != second {
		t.Errorf("two servers: %s and %s", first, second)
	}
}

func TestS3BucketsAreApart(t *testing.T) {
	one, two := testenv.S3(t), testenv.S3(t)
	if one.Bucket == two.Bucket || one.Config["s3Url"] != two.Config["s3Url"] {
		t.Errorf("%+v, %+v", one, two)
	}
}

// TestDetachedServer does what the demo does.
func TestDetachedServer(t *testing.T) {
	root := t.TempDir()
	options := testenv.StartOptions{Root: root, PIDFile: filepath.Join(root, "pid"), AccessKey: "demo", SecretKey: "secret"}
	server, err := testenv.StartS3(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	for range 2 {
		if err := server.CreateBucket(t.Context(), "demo"); err != nil {
			t.Fatal(err)
		}
	}
	bucket, err := store.Open(t.Context(), server.Location("demo", "p"))
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Create(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := testenv.StopS3(options.PIDFile); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(options.PIDFile); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pid file: %v", err)
	}
	if _, err := bucket.Stat(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestStartTellsWhy(t *testing.T) {
	server, err := testenv.StartS3(t.Context(), testenv.StartOptions{Root: t.TempDir(), Listen: "192.0.2.1:1"})
	if err == nil {
		_ = server.Stop()
		t.Fatal("no error")
	}
	t.Log(err)
}

package storage

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

func TestHost(t *testing.T) {
	t.Parallel()
	host := Host{Folder: filepath.Join(t.TempDir(), "storage")}
	t.Cleanup(func() {
		if err := host.Stop(); err != nil {
			t.Error(err)
		}
	})
	first, err := host.Start(t.Context(), "127.0.0.1", "demo")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Get(first.HostEndpoint + "/demo")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden { // no credentials
		t.Errorf("status %s", answer.Status)
	}
	second, err := host.Start(t.Context(), "127.0.0.1", "demo")
	if err != nil || second != first {
		t.Errorf("started twice: %+v and %+v, %v", first, second, err)
	}
	moved, err := host.Start(t.Context(), "127.0.0.2", "demo")
	if err != nil || moved.AccessKey != first.AccessKey || !strings.HasPrefix(moved.Endpoint, "http://127.0.0.2:") {
		t.Errorf("moved to another address: %+v, %v", moved, err)
	}
	if err := host.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get(first.HostEndpoint); err == nil {
		t.Error("still answers")
	}
	if _, err := os.Stat(host.Folder); !os.IsNotExist(err) {
		t.Errorf("folder is left: %v", err)
	}
}

func TestCredentialsAreForThisUserOnly(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "credentials")
	if err := newServer("demo").WriteCredentials(file); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestDeploymentIsYAML(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "s3.yaml")
	options := InClusterOptions{Bucket: "demo", StoreImage: "example.com/s3@sha256:1", AppImage: "example.com/app@sha256:2"}
	if err := writeDeployment(file, newServer("demo"), options); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var object struct{ Kind string }
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		kinds = append(kinds, object.Kind)
	}
	if got := strings.Join(kinds, " "); got != "Namespace Secret Service Deployment" {
		t.Errorf("kinds %s", got)
	}
}

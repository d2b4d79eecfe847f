package shop_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

func TestManifests(t *testing.T) {
	t.Parallel()
	tree, err := workspace.Find()
	if err != nil {
		t.Fatal(err)
	}
	values := shop.Values{Image: "example.com/app:1", DataDir: "/state/shop-data"}
	files, err := shop.Manifests(tree, t.TempDir(), values)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var all strings.Builder
	for _, file := range files {
		names = append(names, filepath.Base(file))
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	if got := strings.Join(names, " "); got != "crd.yaml app.yaml cr.yaml" {
		t.Errorf("files %s", got)
	}
	for _, want := range []string{`image: "example.com/app:1"`, `path: "/state/shop-data"`} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("manifests have no %s", want)
		}
	}
	for _, unwanted := range []string{"{{", "registry.k8s.io", "/var/lib"} {
		if strings.Contains(all.String(), unwanted) {
			t.Errorf("manifests have %s", unwanted)
		}
	}
}

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPluginStaysSmall keeps cloud SDKs, and the packages that need them, out
// of the plugin: it reaches buckets through Jobs.
func TestPluginStaysSmall(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/kubectl-velero/kubectl-velero/"
	forbidden := []string{
		"github.com/aws/", "github.com/Azure/azure-sdk-for-go", "cloud.google.com/", "google.golang.org/api/", "google.golang.org/grpc",
		"github.com/kopia/", "sigs.k8s.io/controller-runtime", "k8s.io/kubectl/", "testing",
		module + "pkg/store", module + "pkg/catalog", module + "jobs/", module + "testdata/",
	}
	for _, pkg := range strings.Fields(string(out)) {
		if pkg == module+"pkg/store/settings" {
			continue // which links none
		}
		for _, prefix := range forbidden {
			if strings.HasPrefix(pkg, prefix) {
				t.Errorf("the plugin links %s", pkg)
			}
		}
	}
}

// TestOnlyCommandsImportTheCommandLine keeps pkg/cli at the top.
func TestOnlyCommandsImportTheCommandLine(t *testing.T) {
	t.Parallel()
	const cli = "github.com/kubectl-velero/kubectl-velero/pkg/cli"
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		importer := fields[0]
		if strings.HasPrefix(importer, cli) || strings.HasSuffix(importer, "/cmd/kubectl-velero") {
			continue
		}
		for _, imported := range fields[1:] {
			if imported == cli || strings.HasPrefix(imported, cli+"/") {
				t.Errorf("%s imports %s", importer, imported)
			}
		}
	}
}

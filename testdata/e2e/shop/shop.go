// Package shop is the sample application of the demo and the end-to-end tests:
// its manifests (testdata/shop), how it is applied, what tells that it runs, and
// which objects outside its namespace belong to it.
package shop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/disaster"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

const (
	// Namespace is where the application runs.
	Namespace = "shop"
	// Volume is its PersistentVolume.
	Volume = "shop-data"
	// File is in the volume, as the application sees it.
	File = "/data/orders.txt"
	// Order is the content of File, without the end of the line.
	Order = "order 1: two gears"

	// LedgerClaim is the claim of its second volume, which it has where there is a
	// class for it.
	LedgerClaim = "ledger-db-0"
	// LedgerFile is in that volume, as the database sees it.
	LedgerFile = "/ledger/entries.txt"
)

// Around are the cluster-scoped objects that a backup of the namespace brings
// along.
var Around = []compare.Key{
	{Resource: "namespaces", Name: Namespace},
	{Resource: "persistentvolumes", Name: Volume},
	{Resource: "clusterroles.rbac.authorization.k8s.io", Name: "shop-reader"},
	{Resource: "clusterrolebindings.rbac.authorization.k8s.io", Name: "shop-reader"},
	{Resource: "customresourcedefinitions.apiextensions.k8s.io", Name: "widgets.shop.example.com"},
}

// Values fill in the manifests.
type Values struct {
	// Image is the sample application's image, as pods name it.
	Image string
	// DataDir is the folder on the node that holds the volume.
	DataDir string
	// StorageClass is that of the claim LedgerClaim; empty leaves the claim out.
	StorageClass string
}

// Manifests writes the manifests with the values into folder, and returns the
// files in the order in which they are applied.
func Manifests(tree workspace.Tree, folder string, values Values) ([]string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	var files []string
	for _, name := range []string{"crd.yaml", "app.yaml", "cr.yaml"} {
		file := filepath.Join(folder, name)
		if err := manifest(tree.Path("testdata", "shop", name), file, values); err != nil {
			return nil, fmt.Errorf("manifest %q: %w", name, err)
		}
		files = append(files, file)
	}
	return files, nil
}

func manifest(source, file string, values Values) error {
	parsed, err := template.New(filepath.Base(source)).Option("missingkey=error").ParseFiles(source)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := parsed.Execute(out, values); err != nil {
		_ = out.Close() // the first error tells more
		return err
	}
	return out.Close()
}

// Apply creates the application and waits until it runs.
func Apply(ctx context.Context, c *console.Console, files []string) error {
	crd, app, cr := files[0], files[1], files[2]
	commands := [][]string{
		{"kubectl", "apply", "-f", crd},
		{"kubectl", "wait", "crd/widgets.shop.example.com", "crd/regions.shop.example.com", "--for=condition=Established", "--timeout=240s"},
		{"kubectl", "apply", "-f", app, "-f", cr},
	}
	for _, command := range commands {
		if err := c.Run(ctx, command...); err != nil {
			return err
		}
	}
	if err := c.Run(ctx, "kubectl", "-n", Namespace, "wait", "job/migrate", "--for=condition=Complete", "--timeout=240s"); err != nil {
		return err
	}
	return WaitRunning(ctx, c)
}

// WaitRunning waits until everything that runs for ever does so.
func WaitRunning(ctx context.Context, c *console.Console) error {
	commands := [][]string{
		{"rollout", "status", "deployment/web", "statefulset/db", "daemonset/agent", "--timeout=240s"},
		{"wait", "pod/bare", "--for=condition=Ready", "--timeout=240s"},
		{"wait", "pvc/data", "--for=jsonpath={.status.phase}=Bound", "--timeout=240s"},
		{"wait", "secret/web-token", "--for=jsonpath={.data.token}", "--timeout=240s"},
	}
	for _, command := range commands {
		if err := c.Run(ctx, append([]string{"kubectl", "-n", Namespace}, command...)...); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile puts the file of known content into the volume.
func WriteFile(ctx context.Context, c *console.Console) error {
	return c.Run(ctx, "kubectl", "-n", Namespace, "exec", "deployment/web", "--", "/app", "write", File, Order)
}

// ReadFile prints the file, and returns an error unless it has the known content.
func ReadFile(ctx context.Context, c *console.Console) error {
	return read(ctx, c, "deployment/web", File, Order)
}

func read(ctx context.Context, c *console.Console, workload, file, want string) error {
	result, err := c.Try(ctx, "kubectl", "-n", Namespace, "exec", workload, "--", "/app", "cat", file)
	if err != nil {
		return err
	}
	if result.Code != 0 || result.Stdout != want+"\n" {
		return fmt.Errorf("file %s of the volume: want %q, got %q %q", file, want, result.Stdout, result.Stderr)
	}
	return nil
}

// WriteLedger puts a line of text into the file of the volume of LedgerClaim.
func WriteLedger(ctx context.Context, c *console.Console, text string) error {
	return c.Run(ctx, "kubectl", "-n", Namespace, "exec", "statefulset/db", "--", "/app", "write", LedgerFile, text)
}

// ReadLedger prints that file, and returns an error unless it has this line only.
func ReadLedger(ctx context.Context, c *console.Console, want string) error {
	return read(ctx, c, "statefulset/db", LedgerFile, want)
}

// LedgerVolume returns the name of the PersistentVolume that LedgerClaim is bound
// to, "" where there is no such claim, without a word on the console.
func LedgerVolume(ctx context.Context, c *console.Console) (string, error) {
	quiet := *c
	quiet.Quiet = true
	command := []string{"kubectl", "-n", Namespace, "get", "pvc/" + LedgerClaim, "--ignore-not-found", "-o", "jsonpath={.spec.volumeName}"}
	result, err := quiet.Try(ctx, command...)
	if err != nil {
		return "", err
	}
	if result.Code != 0 {
		return "", &console.CommandError{Command: command, Result: result}
	}
	return result.Stdout, nil
}

// Delete removes the namespace and the volume, and waits until both are gone.
// The widget has a finalizer whose controller the application doesn't bring, so
// that is taken off first.
func Delete(ctx context.Context, c *console.Console) error {
	if err := freeWidget(ctx, c); err != nil {
		return err
	}
	if err := disaster.DeleteNamespace(ctx, c, Namespace); err != nil {
		return err
	}
	return c.Run(ctx, "kubectl", "delete", "persistentvolume", Volume, "--timeout=240s")
}

func freeWidget(ctx context.Context, c *console.Console) error {
	return c.Run(ctx, "kubectl", "-n", Namespace, "patch", "widget/gear", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

// DeleteAll removes all that the application has in the cluster, whatever is
// left of it.
func DeleteAll(ctx context.Context, c *console.Console) error {
	widgets, err := c.Try(ctx, "kubectl", "-n", Namespace, "get", "widgets", "-o", "name", "--ignore-not-found")
	if err != nil {
		return err
	}
	if widgets.Code == 0 && widgets.Stdout != "" {
		if err := freeWidget(ctx, c); err != nil {
			return err
		}
	}
	volume, err := LedgerVolume(ctx, c)
	if err != nil {
		return err
	}
	if err := disaster.DeleteNamespace(ctx, c, Namespace); err != nil {
		return err
	}
	if volume != "" { // its driver deletes it after the claim has gone
		if err := c.Run(ctx, "kubectl", "wait", "persistentvolume/"+volume, "--for=delete", "--timeout=240s"); err != nil {
			return err
		}
	}
	return c.Run(ctx, "kubectl", "delete", "--ignore-not-found", "--timeout=240s",
		"persistentvolume/"+Volume, "storageclass/manual", "priorityclass/shop-high",
		"clusterrole/shop-reader", "clusterrolebinding/shop-reader", "validatingwebhookconfiguration/shop-check",
		"crd/widgets.shop.example.com", "crd/regions.shop.example.com")
}

// Read returns the state of the application.
func Read(ctx context.Context, config *rest.Config) (compare.State, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{} // every kind is read, deprecated or not
	config.QPS = -1                           // one request for each: the client's own limit makes that 16 s
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return compare.Read(ctx, client, disco, Namespace, Around)
}

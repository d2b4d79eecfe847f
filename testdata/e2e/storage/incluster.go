package storage

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

// InClusterNamespace is where a server in the cluster runs.
const InClusterNamespace = "kubectl-velero-demo-storage"

//go:embed deployment.yaml
var deployment string

// InClusterOptions say how a server in the cluster is made.
type InClusterOptions struct {
	Bucket string
	// StoreImage and AppImage are references that the cluster's nodes can pull.
	StoreImage, AppImage string
	// Folder is where the manifest is written; it holds a secret.
	Folder string
}

// StartInCluster applies the Deployment and waits until the server answers. Its
// bucket is empty.
func StartInCluster(ctx context.Context, c *console.Console, o InClusterOptions) (Server, error) {
	server := newServer(o.Bucket)
	server.Endpoint = fmt.Sprintf("http://s3.%s.svc:7070", InClusterNamespace)
	file := filepath.Join(o.Folder, "s3.yaml")
	if err := writeDeployment(file, server, o); err != nil {
		return Server{}, fmt.Errorf("write %q: %w", file, err)
	}
	commands := [][]string{
		{"kubectl", "delete", "namespace", InClusterNamespace, "--ignore-not-found", "--timeout=240s"},
		{"kubectl", "apply", "-f", file},
		{"kubectl", "-n", InClusterNamespace, "rollout", "status", "deployment/s3", "--timeout=240s"},
	}
	for _, command := range commands {
		if err := c.Run(ctx, command...); err != nil {
			return Server{}, err
		}
	}
	return server, nil
}

// StopInCluster removes the server, its data too.
func StopInCluster(ctx context.Context, c *console.Console) error {
	return c.Run(ctx, "kubectl", "delete", "namespace", InClusterNamespace, "--ignore-not-found", "--timeout=240s")
}

func writeDeployment(file string, server Server, o InClusterOptions) error {
	parsed, err := template.New("deployment.yaml").Parse(deployment)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	values := struct {
		Server
		InClusterOptions
		Bucket, Namespace string
	}{server, o, o.Bucket, InClusterNamespace}
	if err := parsed.Execute(out, values); err != nil {
		_ = out.Close() // the first error tells more
		return err
	}
	return out.Close()
}

package pki

import (
	"encoding/base64"
	"fmt"
	"os"
)

// Kubeconfig says how one user reaches one API server.
type Kubeconfig struct {
	Name   string // of cluster, user and context
	Server string // URL
	CA     []byte // PEM
	User   Pair
}

// Write writes the file, readable by the owner only. Certificates and key are
// embedded: the file works wherever it is copied to.
func (k Kubeconfig) Write(path string) error {
	b64 := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[1]s
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[1]s
current-context: %[1]s
`, k.Name, k.Server, b64(k.CA), b64(k.User.Cert), b64(k.User.Key))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

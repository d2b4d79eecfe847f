//go:build e2e

package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// elsewhereBucket is the bucket, container or folder of places beside S3.
const elsewhereBucket = "backups"

// azureLocation starts an Azure Blob server with a certificate that only a Secret
// knows, which the location names.
func (s *session) azureLocation(location string) store.Location {
	s.t.Helper()
	server, err := testenv.StartAzurite(s.t.Context(), testenv.AzuriteOptions{
		Root: filepath.Join(s.t.TempDir(), "azurite"), Listen: s.hostPort(), TLS: true,
	})
	s.check(err)
	s.t.Cleanup(func() { _ = server.Stop() })
	s.check(server.CreateContainer(s.t.Context(), elsewhereBucket))
	here := server.Location(elsewhereBucket, "clusters/one")
	certificate := filepath.Join(s.t.TempDir(), "ca.crt")
	s.check(os.WriteFile(certificate, here.CACert, 0o600))
	s.secret(location, "cloud", here.CredentialsFile)
	s.secret(location+"-ca", "bundle", certificate)
	s.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: BackupStorageLocation
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  provider: velero.io/azure
  credential: {name: %[1]s, key: cloud}
  objectStorage:
    bucket: %[3]s
    prefix: %[4]s
    caCertRef: {name: %[1]s-ca, key: bundle}
  config: {storageAccount: %[5]s, storageAccountURI: %[6]q, storageAccountKeyEnvVar: %[7]s}
`, location, namespace, here.Bucket, here.Prefix, server.Account, server.URL, testenv.AzureKeyVariable))
	return here
}

// gcpLocation starts a GCS server, whose certificate stands in the location.
func (s *session) gcpLocation(location string) store.Location {
	s.t.Helper()
	server, err := testenv.StartGCS(s.t.Context(), testenv.GCSOptions{
		Root: filepath.Join(s.t.TempDir(), "gcs"), Listen: s.hostPort(), TLS: true,
	})
	s.check(err)
	s.t.Cleanup(func() { _ = server.Stop() })
	s.check(server.CreateBucket(s.t.Context(), elsewhereBucket, false))
	here := server.Location(elsewhereBucket, "")
	certificate := filepath.Join(s.t.TempDir(), "ca.crt")
	s.check(os.WriteFile(certificate, here.CACert, 0o600))
	s.secret(location, "cloud", here.CredentialsFile)
	s.must("kubectl", "velero", "backup-location", "create", location, "--provider", "gcp", "--bucket", here.Bucket,
		"--config", "storeEndpoint="+server.URL, "--credential", location+"=cloud", "--cacert", certificate)
	return here
}

// volumeLocation makes a claim on a folder of the node, which belongs to root, and
// which would go with its claim.
func (s *session) volumeLocation(location string) store.Location {
	s.t.Helper()
	folder := filepath.Join(s.t.TempDir(), "volume")
	s.check(os.MkdirAll(folder, 0o755))
	// The kubelet looks for it with no rights of the test's user but root's, and the
	// pod's user must come through.
	s.check(os.Chmod(filepath.Dir(folder), 0o755))
	nodes, err := s.kube.CoreV1().Nodes().List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	s.apply(fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: ""
  claimRef: {namespace: %[2]s, name: %[1]s}
  local: {path: %[3]q}
  nodeAffinity:
    required:
      nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%[4]s]}]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  volumeName: %[1]s
  resources: {requests: {storage: 1Gi}}
`, location, namespace, folder, nodes.Items[0].Labels[corev1.LabelHostname]))
	s.after("kubectl", "delete", "persistentvolume/"+location, "--wait=false")
	s.after("kubectl", "-n", namespace, "delete", "persistentvolumeclaim/"+location, "--wait=false")
	s.must("kubectl", "velero", "backup-location", "create", location, "--provider", "filesystem", "--pvc", location, "--bucket", elsewhereBucket)
	return store.Location{
		Provider: "filesystem", Bucket: elsewhereBucket, Root: folder,
		Config: map[string]string{"persistentVolumeClaim": location},
	}
}

// hostPort is where servers that pods ask listen on this machine.
func (s *session) hostPort() string { return net.JoinHostPort(s.cluster.HostAddress, "0") }

//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// otherCluster is the id of a cluster that isn't there.
const otherCluster = "3a1f8c1e-0000-4000-8000-5d0c4b7e9a21"

// TestAnotherClustersBackup has a backup in the bucket that another cluster made:
// it is found, it isn't deleted by mistake, and it can be adopted.
func TestAnotherClustersBackup(t *testing.T) {
	s := start(t)
	location, name := unique("shared"), unique("theirs")
	prefix := otherPrefix + "/" + location
	s.must("kubectl", "velero", "backup-location", "create", location, "--provider", "aws", "--bucket", bucket,
		"--prefix", prefix, "--config", s.s3.LocationConfig())
	s.must("kubectl", "velero", "backup", "create", name, "--storage-location", location, "--include-namespaces", "default", "--wait")
	folder := prefix + "/backups/" + name + "/"
	s.edit(folder+name+"-claim.json", func(claim map[string]any) { claim["clusterID"] = otherCluster })
	s.edit(folder+"velero-backup.json", func(marker map[string]any) {
		metadata, _ := marker["metadata"].(map[string]any)
		annotations, _ := metadata["annotations"].(map[string]any)
		if annotations[velerov1.ClusterIDAnnotation] == nil {
			t.Error("the marker doesn't name its cluster")
			return
		}
		annotations[velerov1.ClusterIDAnnotation] = otherCluster
	})

	s.must("kubectl", "-n", namespace, "delete", "backup.velero.io/"+name)
	s.must("kubectl", "velero", "backup-location", "sync", location)
	if got := s.must("kubectl", "-n", namespace, "get", "backup.velero.io/"+name, "-o", "yaml"); !strings.Contains(got, otherCluster) {
		t.Errorf("the record doesn't say whose it is:\n%s", got)
	}
	result := s.try("kubectl", "velero", "backup", "delete", name, "--confirm")
	if said := result.Stdout + result.Stderr; result.Code == 0 || !strings.Contains(said, "--force") || !strings.Contains(said, otherCluster) {
		t.Errorf("exit status %d: %s", result.Code, said)
	}
	if keys := s.keys(folder); len(keys) == 0 {
		t.Fatal("it is gone")
	}

	s.must("kubectl", "velero", "backup-location", "adopt", location, "--cluster-id", otherCluster)
	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
	if keys := s.keys(prefix); len(keys) > 0 {
		t.Errorf("left in the bucket: %q", keys)
	}
	s.must("kubectl", "velero", "backup-location", "delete", location, "--confirm")
}

// edit changes an object of the bucket that is JSON.
func (s *session) edit(key string, change func(map[string]any)) {
	s.t.Helper()
	var value map[string]any
	s.decode(key, &value)
	change(value)
	body, err := json.Marshal(value)
	s.check(err)
	s.check(s.open().Put(s.t.Context(), key, bytes.NewReader(body)))
}

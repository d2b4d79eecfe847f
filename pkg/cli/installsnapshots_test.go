package cli

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// TestInstallSnapshotLocation: which installations get a snapshot location, and which
// feature flags their Jobs.
func TestInstallSnapshotLocation(t *testing.T) {
	t.Parallel()
	none := map[string]string(nil)
	dir := t.TempDir()
	whole, keyOnly := filepath.Join(dir, "whole"), filepath.Join(dir, "key")
	for path, content := range map[string]string{whole: "AZURE_SUBSCRIPTION_ID=s\nAZURE_RESOURCE_GROUP=g\nAZURE_CLIENT_ID=c\n", keyOnly: "KEY=x\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args     []string
		provider string // of the snapshot location; empty for none
		config   map[string]string
	}{
		"aws":              {[]string{"--provider", "aws", "--bucket", "b", "--backup-location-config", "region=eu-west-1"}, "aws", map[string]string{"region": "eu-west-1"}},
		"aws, no region":   {[]string{"--provider", "aws", "--bucket", "b"}, "", none},
		"another S3":       {[]string{"--provider", "aws", "--bucket", "b", "--backup-location-config", "region=x,s3Url=https://s3.example.com"}, "", none},
		"another S3, disk": {[]string{"--provider", "aws", "--bucket", "b", "--backup-location-config", "region=x,s3Url=https://s3.example.com", "--snapshot-location-config", "region=y"}, "aws", map[string]string{"region": "y"}},
		"gcp":              {[]string{"--provider", "gcp", "--bucket", "b"}, "gcp", none},
		"azure":            {[]string{"--provider", "azure", "--bucket", "b", "--backup-location-config", "storageAccount=shopbackups", "--secret-file", whole}, "azure", none},
		"azure, key only":  {[]string{"--provider", "azure", "--bucket", "b", "--backup-location-config", "storageAccount=shopbackups", "--secret-file", keyOnly}, "", none},
		"turned off":       {[]string{"--provider", "gcp", "--bucket", "b", "--use-volume-snapshots=false"}, "", none},
		"no bucket":        {[]string{"--no-default-backup-location", "--provider", "gcp", "--use-volume-snapshots"}, "gcp", none},
		"neither":          {[]string{"--no-default-backup-location"}, "", none},
		"files":            {[]string{"--provider", "filesystem", "--pvc", "c"}, "", none},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if !slices.Contains(c.args, "--secret-file") {
				c.args = append(c.args, "--no-secret")
			}
			out, _, err := runInstall(t, append(c.args, "--image", "executor:v1", "--dry-run", "-o", "yaml")...)
			if err != nil {
				t.Fatal(err)
			}
			var list struct {
				Items []velerov1.VolumeSnapshotLocation `json:"items"`
			}
			if err := yaml.Unmarshal([]byte(out), &list); err != nil {
				t.Fatal(err)
			}
			got := velerov1.VolumeSnapshotLocationSpec{}
			for _, item := range list.Items {
				if item.Kind == "VolumeSnapshotLocation" {
					got = item.Spec
				}
			}
			want := velerov1.VolumeSnapshotLocationSpec{Provider: c.provider, Config: c.config}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

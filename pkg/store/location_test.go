package store

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func TestLocationNormalized(t *testing.T) {
	t.Parallel()
	got, err := Location{Provider: "aws", Bucket: "/b/", Prefix: "/a/b/"}.normalized()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Location{Provider: "velero.io/aws", Bucket: "b", Prefix: "a/b/"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		location Location
		want     string
	}{
		{"no provider", Location{Bucket: "b"}, `open storage location: no provider is named; hint: it is one of ["aws" "azure" "filesystem" "gcp"]`},
		{"no bucket", Location{Provider: "aws"}, `open storage location: it names no bucket; hint: set spec.objectStorage.bucket`},
		{"prefix in the bucket", Location{Provider: "aws", Bucket: "b/x/y"}, `open storage location: the bucket's name "b/x/y" must not contain a slash; hint: set bucket to "b" and prefix to "x/y"`},
		{"traversal", Location{Provider: "aws", Bucket: "b", Prefix: "a/../.."}, `open storage location: invalid prefix "a/../.."`},
		{"another provider", Location{Provider: "azur", Bucket: "b"}, `open storage location: provider "azur" is not supported by this version; hint: did you mean "azure"? It is one of ["aws" "azure" "filesystem" "gcp"]`},
		{"no PEM", Location{Provider: "aws", Bucket: "b", Config: map[string]string{"region": "x"}, CACert: []byte("LS0t")}, `open storage location: the CA certificate of the location holds no certificate in PEM form; hint: it must start with -----BEGIN CERTIFICATE-----, encoded in base64 once in YAML`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), test.location)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromSpec(t *testing.T) {
	t.Parallel()
	bsl := &velerov1.BackupStorageLocation{Spec: velerov1.BackupStorageLocationSpec{
		Provider:      "aws",
		Config:        map[string]string{"region": "eu-west-1"},
		ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b", Prefix: "p", CACert: []byte("inline")},
	}}
	want := Location{
		Provider: "aws", Bucket: "b", Prefix: "p", Config: map[string]string{"region": "eu-west-1"},
		CACert: []byte("inline"), CredentialsFile: "/credentials/cloud",
	}
	got := FromSpec(bsl, nil, "/credentials/cloud")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := FromSpec(bsl, []byte("referenced"), ""); string(got.CACert) != "referenced" {
		t.Errorf("CA %q, want that of the reference", got.CACert)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var back Location
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("after JSON: %s", diff)
	}
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	for key, ok := range map[string]bool{
		"a": true, "backups/x/x.tar.gz": true, "a..b/c": true, "dir/": true,
		"": false, "/a": false, "..": false, "../a": false, "a/../b": false, "a//b": false, "./a": false, "a/.": false,
	} {
		if err := checkKey(key); (err == nil) != ok {
			t.Errorf("checkKey(%q) = %v", key, err)
		}
	}
}

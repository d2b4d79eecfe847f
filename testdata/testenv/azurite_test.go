//go:build integration

package testenv_test

import (
	"strings"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestAzureContainersAreApart(t *testing.T) {
	one, two := testenv.Azure(t), testenv.Azure(t)
	if one.Bucket == two.Bucket || one.Config["storageAccountURI"] != two.Config["storageAccountURI"] {
		t.Errorf("%+v, %+v", one, two)
	}
	bucket, err := store.Open(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Create(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
}

func TestAzuriteNeedsNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	server, err := testenv.StartAzurite(t.Context(), testenv.AzuriteOptions{Root: t.TempDir()})
	if err == nil {
		_ = server.Stop()
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), "hint: install Node.js 20 or newer, with npm") {
		t.Error(err)
	}
}

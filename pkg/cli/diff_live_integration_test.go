//go:build integration

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// TestDiffLive compares an archive of a namespace with what became of it. It
// isn't parallel: it sets the kubeconfig.
func TestDiffLive(t *testing.T) {
	t.Setenv("KUBECONFIG", testenv.Kubeconfig(t))
	f, _, _ := testFactory()
	cfg, err := f.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const namespace = "diff-live"
	if _, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	maps := kube.CoreV1().ConfigMaps(namespace)
	set := func(name, value string) {
		t.Helper()
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": value}}
		_, err := maps.Create(t.Context(), object, metav1.CreateOptions{})
		if err != nil {
			_, err = maps.Update(t.Context(), object, metav1.UpdateOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"changed", "gone", "same"} {
		set(name, "before")
	}
	file := filepath.Join(t.TempDir(), "x.tar.gz")
	if err := os.WriteFile(file, listed(t, f, namespace), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errOut, code := execute(t, "backup", "diff", "--file", file, "--live"); code != 0 || out != "" {
		t.Errorf("nothing has changed: exit code %d\n%s%s", code, out, errOut)
	}

	set("changed", "after")
	set("fresh", "after")
	if err := maps.Delete(t.Context(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := execute(t, "backup", "diff", "--file", file, "--live")
	head, diff, _ := strings.Cut(out, "@@")
	want := "removed: diff-live/configmaps/gone\nadded: diff-live/configmaps/fresh\nchanged: diff-live/configmaps/changed\n"
	if code != exitDiffers || !strings.HasPrefix(head, want) || !strings.Contains(diff, "-  k: before\n+  k: after\n") {
		t.Errorf("exit code %d: %s\n%s%s", code, cmp.Diff(want, head), diff, errOut)
	}
	if !strings.Contains(errOut, "1 added, 1 removed, 1 changed, 1 the same") {
		t.Error(errOut)
	}
}

// listed is an archive of the ConfigMaps of a namespace.
func listed(t *testing.T, f *Factory, namespace string) []byte {
	t.Helper()
	cfg, err := f.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	lister, err := cluster.NewLister(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	kind, err := w.Kind(schema.GroupResource{Resource: "configmaps"}, "v1", true)
	if err != nil {
		t.Fatal(err)
	}
	resource := cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Kind: "ConfigMap", Namespaced: true}
	err = lister.List(t.Context(), resource, cluster.ListOptions{Namespace: namespace}, func(o cluster.Object) error {
		return kind.Write(o.Namespace, o.Name, o.AppendJSON(nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := kind.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

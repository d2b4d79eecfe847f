package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// compareArchives is the output of a comparison of two archives, of which the
// right one has its objects in another order.
func compareArchives(t *testing.T, left, right []made, indexed bool, change func(*comparison)) (string, *comparison) {
	t.Helper()
	f, out, _ := testFactory()
	d := &comparison{f: f, moved: func() {}}
	if change != nil {
		change(d)
	}
	var sides [2]archiveSide
	for i, objects := range [][]made{left, right} {
		packed, index := pack(t, objects...)
		if !indexed {
			index = (*archive.Index)(nil)
		}
		a, _ := source(f, packed, index, nil)
		a.what = fmt.Sprintf("backup %q", string(rune('a'+i)))
		sides[i] = archiveSide{a}
	}
	if err := d.run(t.Context(), sides[0], sides[1]); err != nil {
		t.Fatal(err)
	}
	return out.String(), d
}

func TestDiff(t *testing.T) {
	t.Parallel()
	same := made{"namespaces", "v1", "Namespace", "", "shop", `,"status":{"phase":"Active"}`}
	old := made{"configmaps", "v1", "ConfigMap", "shop", "c", `,"data":{"a":"1","b":"2"}`}
	gone := made{"configmaps", "v1", "ConfigMap", "shop", "gone", ""}
	fresh := made{"deployments.apps", "apps/v1", "Deployment", "shop", "web", ""}
	changed, elsewhere := old, same
	changed.more = `,"data":{"b":"2","a":"3"}`
	elsewhere.more = `,"status":{"phase":"Terminating"}`
	want := `removed: shop/configmaps/gone
added: shop/deployments.apps/web
changed: shop/configmaps/c
diff backup "a" shop/configmaps/c backup "b" shop/configmaps/c
--- backup "a" shop/configmaps/c
+++ backup "b" shop/configmaps/c
@@ -1,6 +1,6 @@
 apiVersion: v1
 data:
-  a: "1"
+  a: "3"
   b: "2"
 kind: ConfigMap
 metadata:
`
	for _, indexed := range []bool{true, false} {
		got, d := compareArchives(t, []made{same, old, gone}, []made{fresh, changed, elsewhere}, indexed, nil)
		if diff := cmp.Diff(want, got); diff != "" || d.same != 1 {
			t.Errorf("%s %d the same", diff, d.same)
		}
	}
	got, d := compareArchives(t, []made{same}, []made{elsewhere}, true, func(d *comparison) { d.normal.status = true })
	if !strings.Contains(got, "-  phase: Active\n+  phase: Terminating\n") || d.same != 0 {
		t.Errorf("with status:\n%s", got)
	}
}

func TestDiffHidesSecrets(t *testing.T) {
	t.Parallel()
	before := made{"secrets", "v1", "Secret", "shop", "db", `,"data":{"gone":"R09ORQ==","kept":"S0VQVA==","password":"T0xE"}`}
	after := before
	after.more = `,"data":{"kept":"S0VQVA==","new":"TkVX","password":"Q0hBTkdFRA=="}`
	got, _ := compareArchives(t, []made{before}, []made{after}, true, nil)
	for _, value := range []string{"R09ORQ", "S0VQVA", "T0xE", "TkVX", "Q0hBTkdFRA"} {
		if strings.Contains(got, value) {
			t.Errorf("shows %s", value)
		}
	}
	for _, line := range []string{"-  gone: '***'", "   kept: '***'", "+  new: '***'", "-  password: '*** (before)'", "+  password: '*** (after)'"} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("lacks %q:\n%s", line, got)
		}
	}
	got, _ = compareArchives(t, []made{before}, []made{after}, true, func(d *comparison) { d.showSecrets = true })
	if !strings.Contains(got, "-  password: T0xE\n") {
		t.Errorf("with --show-secrets:\n%s", got)
	}
}

// TestDiffMasksWhatWasApplied: the annotation of kubectl apply holds the data, too.
func TestDiffMasksWhatWasApplied(t *testing.T) {
	t.Parallel()
	object := func(password string) map[string]any {
		return map[string]any{"metadata": map[string]any{"annotations": map[string]any{lastApplied: password, "team": "blue"}}}
	}
	before, after := object("OLD"), object("NEW")
	maskSecrets(before, after)
	want := map[string]any{"metadata": map[string]any{"annotations": map[string]any{lastApplied: "*** (before)", "team": "blue"}}}
	if diff := cmp.Diff(want, before); diff != "" {
		t.Error(diff)
	}
	maskSecrets(nil, object("x"))
	maskSecrets(object("x"), nil)
}

func TestNormalizer(t *testing.T) {
	t.Parallel()
	a := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","uid":"1","resourceVersion":"2","generation":3,"creationTimestamp":"x","selfLink":"y",
"managedFields":[{}],"labels":{"velero.io/backup-name":"b","velero.io/restore-name":"r"},"ownerReferences":[{"kind":"ReplicaSet","name":"rs","uid":"4"}]},"spec":{"n":12345678901234567890},"status":{"phase":"Running"}}`
	b := `{"kind":"Pod","apiVersion":"v1","spec":{"n":12345678901234567890},"metadata":{"ownerReferences":[{"uid":"5","kind":"ReplicaSet","name":"rs"}],"name":"p"}}`
	c := strings.Replace(b, "890}", "891}", 1)
	var hashes [][16]byte
	for _, body := range []string{a, b, c} {
		hash, err := normalizer{}.hash([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
	}
	if hashes[0] != hashes[1] || hashes[1] == hashes[2] {
		t.Errorf("%x", hashes)
	}
	if _, err := (normalizer{}).hash([]byte("{")); err == nil {
		t.Error("half an object was taken")
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	big := sized{size: maxBatchBytes - 1}
	for _, c := range []struct {
		objects []sized
		want    int
	}{{[]sized{{size: 1}, {size: 2}}, 2}, {[]sized{big, {size: 1}, {size: 1}}, 2}, {[]sized{{size: maxBatchBytes + 1}, {size: 1}}, 1}} {
		if got := batch(c.objects); got != c.want {
			t.Errorf("got %d, want %d", got, c.want)
		}
	}
}

// TestLiveScope: which objects of the cluster belong to a backup.
func TestLiveScope(t *testing.T) {
	t.Parallel()
	some := []string{"shop"}
	labelled := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	cases := map[string]struct {
		spec        velerov1.BackupSpec
		annotations map[string]string
		object      cluster.Object
		want        bool
	}{
		"in the backup":              {velerov1.BackupSpec{IncludedNamespaces: some}, nil, cluster.Object{Namespace: "shop", Name: "known", Deleting: true}, true},
		"new":                        {velerov1.BackupSpec{IncludedNamespaces: some}, nil, cluster.Object{Namespace: "shop", Name: "new"}, true},
		"new, being deleted":         {velerov1.BackupSpec{}, nil, cluster.Object{Namespace: "shop", Name: "new", Deleting: true}, false},
		"new, kept out":              {velerov1.BackupSpec{}, nil, cluster.Object{Namespace: "shop", Name: "new", Labels: map[string]string{velerov1.ExcludeFromBackupLabel: "true"}}, false},
		"cluster-scoped, of all":     {velerov1.BackupSpec{}, nil, cluster.Object{Name: "new"}, true},
		"cluster-scoped, of some":    {velerov1.BackupSpec{IncludedNamespaces: some}, nil, cluster.Object{Name: "new"}, false},
		"excluded":                   {velerov1.BackupSpec{IncludedNamespaces: []string{"*"}, ExcludedNamespaces: []string{"kube-*"}}, nil, cluster.Object{Namespace: "kube-system", Name: "new"}, false},
		"selected":                   {velerov1.BackupSpec{LabelSelector: labelled}, nil, cluster.Object{Namespace: "shop", Name: "new", Labels: map[string]string{"app": "web"}}, true},
		"not selected":               {velerov1.BackupSpec{LabelSelector: labelled}, nil, cluster.Object{Namespace: "shop", Name: "new"}, false},
		"one of several selectors":   {velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{{MatchLabels: map[string]string{"a": "b"}}, labelled}}, nil, cluster.Object{Namespace: "shop", Name: "new", Labels: map[string]string{"app": "web"}}, true},
		"a backup of chosen objects": {velerov1.BackupSpec{}, map[string]string{velerov1.IncludeObjectsAnnotation: "shop/cm/known"}, cluster.Object{Namespace: "shop", Name: "new"}, false},
	}
	for name, c := range cases {
		l := &liveSide{backup: map[objectKey]struct{}{{"configmaps", "shop", "known"}: {}}}
		if err := l.scope(&velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Annotations: c.annotations}, Spec: c.spec}); err != nil {
			t.Fatal(err)
		}
		if got := l.concerns(objectKey{"configmaps", c.object.Namespace, c.object.Name}, c.object); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	l := &liveSide{kinds: map[string]*liveKind{}, backup: map[objectKey]struct{}{}}
	l.expect(objectKey{"deployments.apps", "shop", "web"}, []byte(`{"apiVersion":"apps/v1","kind":"Deployment"}`))
	want := cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Kind: "Deployment", Namespaced: true}
	if diff := cmp.Diff(want, l.kinds["deployments.apps"].resource); diff != "" {
		t.Error(diff)
	}
}

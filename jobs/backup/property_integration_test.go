//go:build integration

package backup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// byKind groups the entries of an archive; the order of kinds is free.
func byKind(entries []entry) map[string][]string {
	kinds := map[string][]string{}
	for _, e := range entries {
		kind, _, _ := strings.Cut(strings.TrimPrefix(e.path, "resources/"), "/")
		kinds[kind] = append(kinds[kind], e.path+" "+string(e.body))
	}
	return kinds
}

func TestTheSameInputGivesTheSameEntries(t *testing.T) {
	t.Parallel()
	f := newWorld(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	f.many(600)
	for _, name := range []string{"first", "second"} {
		f.backUp(name, report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app, f.app + "-b"}, SnapshotVolumes: new(bool)})
	}
	first, second := byKind(f.entries("first")), byKind(f.entries("second"))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("entries (-first +second):\n%s", diff)
	}
	// List order within a namespace is by name, as etcd keeps them.
	var names []string
	for _, o := range f.objects("first") {
		if o.resource == "configmaps" && o.namespace == f.app {
			names = append(names, o.qualified())
		}
	}
	if !slices.IsSorted(names) || len(names) < 600 {
		t.Errorf("%d ConfigMaps, in the order of the list: %v", len(names), slices.IsSorted(names))
	}
}

// many is makeMany until the test ends.
func (f *fixture) many(n int) {
	f.t.Helper()
	f.emptied(configMaps)
	f.makeMany(n)
}

// makeMany makes ConfigMaps, more than fit a page when n is above 500.
func (f *fixture) makeMany(n int) {
	f.t.Helper()
	resource := f.dynamic.Resource(configMaps).Namespace(f.app)
	parallel(f.t, n, func(i int) error {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("many-%05d", i), Namespace: f.app}, Data: map[string]string{"n": strings.Repeat(fmt.Sprint(i), 50)}}
		_, err := resource.Create(f.t.Context(), toUnstructured(f.t, cm, "v1", "ConfigMap"), metav1.CreateOptions{})
		return err
	})
}

// A backup without a right that it needs says which.
func TestAForbiddenKindIsAnErrorThatNamesTheRight(t *testing.T) {
	f := newFixture(t)
	f.configMap("kept", nil)
	f.create("secrets", f.app, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hidden", Namespace: f.app}})
	user := "blind-" + f.app
	f.create("clusterroles.rbac.authorization.k8s.io", "", &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: f.allButSecrets()})
	f.create("clusterrolebindings.rbac.authorization.k8s.io", "", &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	})
	f.as(user)
	for name, spec := range map[string]velerov1.BackupSpec{
		"whole": {}, "subset": {IncludedNamespaces: []string{f.app}},
	} {
		t.Run(name, func(t *testing.T) {
			f := f.in(t)
			summary, after := f.backUp(name, report.PartiallyFailed, spec)
			_, errors := f.results(name)
			naming := slices.DeleteFunc(slices.Clone(errors), func(e string) bool { return !strings.Contains(e, `"list secrets"`) })
			if len(errors) != len(naming) || len(errors) == 0 || !strings.Contains(summary.Reason, "list secrets") {
				t.Errorf("errors %q, reason %q", errors, summary.Reason)
			}
			if !strings.Contains(after.Annotations[velerov1.TopCausesAnnotation], "list secrets") {
				t.Errorf("annotations %v", after.Annotations)
			}
			if state, reason, _ := f.kind(name, "secrets"); state != "forbidden" || reason == "" {
				t.Errorf("coverage: %s, %q", state, reason)
			}
			items := f.items(name)
			if !slices.Contains(items, "configmaps "+f.app+"/kept") || slices.ContainsFunc(items, func(item string) bool { return strings.HasPrefix(item, "secrets ") }) {
				t.Errorf("items %q", items)
			}
		})
	}
}

// as makes the executor another user, who may read ConfigMaps.
func (f *fixture) as(user string) {
	f.t.Helper()
	config, err := clientcmd.LoadFromFile(testenv.Kubeconfig(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	for _, info := range config.AuthInfos {
		info.Impersonate = user
	}
	f.kubeconfig = filepath.Join(f.t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, f.kubeconfig); err != nil {
		f.t.Fatal(err)
	}
	cfg := rest.CopyConfig(f.config)
	cfg.Impersonate.UserName = user
	testenv.AwaitRights(f.t, cfg, authorizationv1.ResourceAttributes{Verb: "list", Resource: "configmaps"})
}

// allButSecrets allows all that the API server serves, but not Secrets.
func (f *fixture) allButSecrets() []rbacv1.PolicyRule {
	f.t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		f.t.Fatal(err)
	}
	resources := map[string][]string{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if gv.Group != "" || r.Name != "secrets" {
				resources[gv.Group] = append(resources[gv.Group], r.Name)
			}
		}
	}
	var rules []rbacv1.PolicyRule
	for group, names := range resources {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: names, Verbs: []string{"*"}})
	}
	return append(rules, rbacv1.PolicyRule{NonResourceURLs: []string{"*"}, Verbs: []string{"get"}})
}

// The schemas of the side files, key by key, as Velero reads them; keys beyond
// them fail the test.
func TestSideFilesHaveVelerosSchemas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	f.configMap("kept", nil)
	f.backUp("one", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	if got := f.keys(); !slices.Equal(got, filesOf("one")) {
		t.Errorf("keys %q\nwant %q", got, filesOf("one"))
	}
	var infos []struct {
		PVCName               string `json:"pvcName"`
		PVCNamespace          string `json:"pvcNamespace"`
		PVName                string `json:"pvName"`
		SnapshotDataMoved     *bool  `json:"snapshotDataMoved"`
		PreserveLocalSnapshot *bool  `json:"preserveLocalSnapshot"`
		Skipped               *bool  `json:"skipped"`
		SkippedReason         string `json:"skippedReason"`
		PVInfo                struct {
			ReclaimPolicy string            `json:"reclaimPolicy"`
			Labels        map[string]string `json:"labels"`
		} `json:"pvInfo"`
		Decision string `json:"decision"` // ours
	}
	f.side("one", "volumeinfo.json.gz", &infos)
	if len(infos) != 1 || infos[0].PVName != f.app+"-data" || infos[0].PVCName != "data" || infos[0].PVCNamespace != f.app || infos[0].PVInfo.ReclaimPolicy != "Retain" ||
		infos[0].Skipped == nil || !*infos[0].Skipped || infos[0].SnapshotDataMoved == nil || infos[0].PreserveLocalSnapshot == nil || !strings.HasSuffix(infos[0].SkippedReason, ";") {
		t.Errorf("volume info %+v", infos)
	}
	for suffix, want := range map[string]string{"podvolumebackups.json.gz": "null\n", "volumesnapshots.json.gz": "null\n", "itemoperations.json.gz": "[]\n"} {
		if got := string(gunzip(t, f.object("backups/one/one-"+suffix))); got != want {
			t.Errorf("%s holds %q, want %q", suffix, got, want)
		}
	}
	for _, suffix := range []string{"resource-list.json.gz", "results.gz", "volumeinfo.json.gz"} {
		if body := gunzip(t, f.object("backups/one/one-"+suffix)); bytes.Count(body, []byte("\n")) != 1 || body[len(body)-1] != '\n' {
			t.Errorf("%s isn't one line: %q", suffix, body)
		}
	}
	log := strings.TrimSpace(string(gunzip(t, f.object("backups/one/one-logs.gz"))))
	if last := log[strings.LastIndex(log, "\n")+1:]; !strings.Contains(last, "committing") {
		t.Errorf("the log ends with %q", last)
	}
	f.checkClaim("one")
	f.checkMarker("one")
}

// filesOf are the keys of a complete backup.
func filesOf(name string) []string {
	var keys []string
	for _, suffix := range []string{
		"-checksums.json", "-claim.json", "-coverage.json.gz", "-index.json.gz", "-itemoperations.json.gz", "-logs.gz", "-podvolumebackups.json.gz",
		"-resource-list.json.gz", "-results.gz", "-volumeinfo.json.gz", "-volumesnapshots.json.gz", ".tar.gz",
	} {
		keys = append(keys, "backups/"+name+"/"+name+suffix)
	}
	return append(keys, "backups/"+name+"/velero-backup.json")
}

func (f *fixture) checkClaim(name string) {
	f.t.Helper()
	var claim struct {
		ClusterID string    `json:"clusterID"`
		BackupUID string    `json:"backupUID"`
		Attempt   int       `json:"attempt"`
		Created   time.Time `json:"created"`
	}
	f.side(name, "claim.json", &claim)
	if claim.ClusterID == "" || claim.BackupUID != string(f.get(name).UID) || claim.Attempt != 1 || time.Since(claim.Created) > time.Minute {
		f.t.Errorf("claim %+v", claim)
	}
}

func (f *fixture) checkMarker(name string) {
	f.t.Helper()
	body := f.object("backups/" + name + "/velero-backup.json")
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	var marker velerov1.Backup
	if err := decoder.Decode(&marker); err != nil {
		f.t.Fatal(err)
	}
	if !bytes.Contains(body, []byte("\n  \"")) || marker.Kind != "Backup" || marker.APIVersion != "velero.io/v1" || marker.Status.Version != 1 ||
		marker.Status.FormatVersion != "1.1.0" || marker.Status.CompletionTimestamp == nil || marker.Spec.TTL.Duration != 720*time.Hour {
		f.t.Errorf("marker %s", body)
	}
}

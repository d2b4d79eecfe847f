package restore

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

const fixture = "../../testdata/fixtures/velero-1.18.0/shop"

// openFixture reads the archive that Velero wrote.
func openFixture(t *testing.T) *archive.Reader {
	t.Helper()
	f, err := os.Open(filepath.Join(fixture, "shop.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	reader, err := archive.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return reader
}

func fixtureContents(t *testing.T) *contents {
	t.Helper()
	c := newContents()
	for reader := openFixture(t); ; {
		item, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return c
		}
		if err != nil {
			t.Fatal(err)
		}
		c.add(item)
	}
}

func TestContentsAgreeWithTheResourceList(t *testing.T) {
	t.Parallel()
	f, err := os.Open(filepath.Join(fixture, "shop-resource-list.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var listed map[string][]string
	if err := json.NewDecoder(gz).Decode(&listed); err != nil {
		t.Fatal(err)
	}
	c := fixtureContents(t)
	got := map[string]int{}
	for _, k := range c.all() {
		apiVersion := k.Resource.WithVersion(k.Version).GroupVersion().String()
		got[apiVersion+"/"+k.Kind] = k.total()
	}
	want := map[string]int{}
	for key, names := range listed {
		want[key] = len(names)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("contents (-listed +found):\n%s", diff)
	}
	if difference := c.compare(listed); difference != "" {
		t.Errorf("compare: %s", difference)
	}
	listed["v1/Pod"] = append(listed["v1/Pod"], "shop/lost")
	if want, got := "the archive has 80 objects, the backup's resource list names 81", c.compare(listed); want != got {
		t.Errorf("compare = %q, want %q", got, want)
	}
}

// servedBy is a cluster that serves the given kinds: plural name by
// group/version.
func servedBy(t *testing.T, kinds map[string][]metav1.APIResource) *cluster.Resources {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := discoveryAnswer(kinds, r.URL.Path)
		if answer == nil {
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	client, err := discovery.NewDiscoveryClientForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	client.UseLegacyDiscovery = true
	served, err := cluster.Discover(client)
	if err != nil {
		t.Fatal(err)
	}
	return served
}

func discoveryAnswer(kinds map[string][]metav1.APIResource, path string) any {
	groups := &metav1.APIGroupList{}
	for key, resources := range kinds {
		gv, _ := schema.ParseGroupVersion(key)
		prefix := "/apis/" + key
		if gv.Group == "" {
			prefix = "/api/" + key
		} else {
			version := metav1.GroupVersionForDiscovery{GroupVersion: key, Version: gv.Version}
			groups.Groups = append(groups.Groups, metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version})
		}
		if path == prefix {
			return &metav1.APIResourceList{GroupVersion: key, APIResources: resources}
		}
	}
	switch path {
	case "/api":
		return &metav1.APIVersions{Versions: []string{"v1"}}
	case "/apis":
		return groups
	}
	return nil
}

// modern is a cluster that lacks the fixture's Widgets and has Ingresses in
// another version only.
func modern(t *testing.T) *cluster.Resources {
	t.Helper()
	kinds := map[string][]metav1.APIResource{}
	for _, k := range fixtureContents(t).all() {
		gv := k.Resource.WithVersion(k.Version).GroupVersion()
		switch k.Resource.Resource {
		case "widgets":
			continue
		case "ingresses":
			gv.Version = "v2"
		}
		kinds[gv.String()] = append(kinds[gv.String()], metav1.APIResource{Name: k.Resource.Resource, Kind: k.Kind, Namespaced: k.Namespaced()})
	}
	return servedBy(t, kinds)
}

func choose(t *testing.T, spec velerov1.RestoreSpec, c *contents) *selection {
	t.Helper()
	s, err := newSelection(request{selection: filter.OfRestore(&velerov1.Restore{Spec: spec})}, c.resolve)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPlanOfTheFixture(t *testing.T) {
	t.Parallel()
	no := false
	type summary struct {
		Total      int
		Waves      []string
		Namespaces []string
		Missing    []string
	}
	missingIngress := []string{"ingresses.networking.k8s.io"}
	for _, tc := range []struct {
		name string
		spec velerov1.RestoreSpec
		want summary
	}{{
		name: "everything",
		want: summary{
			Total: 47, Namespaces: []string{"shop"}, Missing: missingIngress,
			Waves: []string{"definitions and namespaces", "volumes, accounts and roles", "claims and configuration", "limits and priorities", "pods", "what controllers adopt", "everything else"},
		},
	}, {
		name: "one namespace brings the definition of a kind that the cluster lacks",
		spec: velerov1.RestoreSpec{IncludedNamespaces: []string{"shop"}},
		want: summary{
			Total: 44, Namespaces: []string{"shop"}, Missing: missingIngress,
			Waves: []string{"definitions and namespaces", "volumes, accounts and roles", "claims and configuration", "limits and priorities", "pods", "what controllers adopt", "everything else"},
		},
	}, {
		name: "without cluster-scoped objects a kind stays missing",
		spec: velerov1.RestoreSpec{IncludedResources: []string{"widget", "secrets"}, IncludeClusterResources: &no},
		want: summary{
			Total: 3, Namespaces: []string{"shop"}, Missing: []string{"widgets.shop.example.com"},
			Waves: []string{"definitions and namespaces", "claims and configuration", "everything else"},
		},
	}, {
		name: "one kind",
		spec: velerov1.RestoreSpec{IncludedResources: []string{"pods"}},
		want: summary{Total: 5, Namespaces: []string{"shop"}, Waves: []string{"definitions and namespaces", "pods"}},
	}, {
		name: "nothing",
		spec: velerov1.RestoreSpec{ExcludedNamespaces: []string{"shop"}, IncludedResources: []string{"pods"}},
		want: summary{},
	}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := fixtureContents(t)
			p := newPlan(c, choose(t, tc.spec, c), modern(t), cluster.Waves())
			got := summary{Total: p.Total, Namespaces: p.Namespaces}
			for i, w := range cluster.Waves() {
				if p.Waves[i] {
					got.Waves = append(got.Waves, w.Name)
				}
			}
			for _, k := range p.Missing {
				got.Missing = append(got.Missing, k.Resource.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// What a needed object's kind needs is settled before anything is restored, and asking
// changes nothing any more.
func TestPlanBringsTheKindsOfNeededObjects(t *testing.T) {
	t.Parallel()
	c := fixtureContents(t)
	kind := transform.VolumeSnapshotContents
	c.definitions = append(c.definitions, kind.String())
	s := choose(t, velerov1.RestoreSpec{IncludedNamespaces: []string{"shop"}}, c)
	if s.brings(c, kind) || len(s.needed) > 0 {
		t.Errorf("before anything needs it: needed %v", s.needed)
	}
	content := transform.Place{Resource: kind, Name: "content"}
	s.need(content)
	newPlan(c, s, modern(t), cluster.Waves())
	if !s.needed[definitionOf(kind)] || !s.brings(c, kind) {
		t.Errorf("needed %v", s.needed)
	}
}

func TestMissingNamesWhatTheClusterHas(t *testing.T) {
	t.Parallel()
	served := servedBy(t, map[string][]metav1.APIResource{
		"v1":      nil,
		"apps/v1": {{Name: "deployments", Kind: "Deployment", Namespaced: true}},
	})
	for _, tc := range []struct {
		resource schema.GroupResource
		version  string
		kind     string
		want     string
	}{
		{schema.GroupResource{Group: "apps", Resource: "deployments"}, "v1beta1", "Deployment", "the cluster doesn't serve deployments.apps in version v1beta1, only in v1"},
		{schema.GroupResource{Group: "extensions", Resource: "deployments"}, "v1beta1", "Deployment", "the cluster doesn't serve deployments.extensions in version v1beta1; it has Deployment as deployments.apps/v1"},
		{schema.GroupResource{Group: "example.com", Resource: "widgets"}, "v1", "Widget", "the cluster doesn't serve widgets.example.com in version v1, nor in any other"},
	} {
		if got := missing(served, tc.resource, tc.version, tc.kind); got != tc.want {
			t.Errorf("missing = %q, want %q", got, tc.want)
		}
	}
}

func TestSurveyTakesWhatSelectedObjectsNeed(t *testing.T) {
	t.Parallel()
	o := fixtureOperation(t, velerov1.RestoreSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}, IncludedNamespaces: []string{"shop"}})
	if err := o.survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[transform.Place]bool{
		{Resource: transform.Claims, Namespace: "shop", Name: "data"}: true,
		{Resource: transform.PersistentVolumes, Name: "shop-data"}:    true,
	}
	if diff := cmp.Diff(want, o.selection.needed); diff != "" {
		t.Errorf("needed (-want +got):\n%s", diff)
	}
	claim := transform.Place{Resource: transform.Claims, Namespace: "shop", Name: "data"}
	other := transform.Place{Resource: transform.Claims, Namespace: "shop", Name: "other"}
	if !o.selection.object(claim, nil) || o.selection.object(other, nil) {
		t.Error("the claim that a selected pod mounts isn't told from others")
	}
}

func TestWavesKeepTheDocumentedOrder(t *testing.T) {
	t.Parallel()
	all := cluster.Waves()
	order := []string{
		"customresourcedefinitions.apiextensions.k8s.io", "persistentvolumes", "persistentvolumeclaims", "limitranges",
		"pods", "replicasets.apps", "services", "clusters.cluster.x-k8s.io", "validatingwebhookconfigurations.admissionregistration.k8s.io",
	}
	var indexes []int
	for _, name := range order {
		indexes = append(indexes, cluster.WaveOf(all, schema.ParseGroupResource(name)))
	}
	if !slices.IsSorted(indexes) || len(slices.Compact(slices.Clone(indexes))) != len(indexes) {
		t.Errorf("waves of %v are %v", order, indexes)
	}
	for _, pair := range [][2]string{
		{"serviceaccounts", "secrets"}, {"controllerrevisions.apps", "statefulsets.apps"}, {"replicasets.apps", "deployments.apps"},
		{"endpoints", "services"}, {"namespaces", "serviceaccounts"},
	} {
		if first, second := cluster.WaveOf(all, schema.ParseGroupResource(pair[0])), cluster.WaveOf(all, schema.ParseGroupResource(pair[1])); first >= second {
			t.Errorf("%s (wave %d) does not come before %s (wave %d)", pair[0], first, pair[1], second)
		}
	}
}

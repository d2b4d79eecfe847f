package filter_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

func TestParseObjects(t *testing.T) {
	t.Parallel()
	got, err := filter.ParseObjects("--include-objects", []string{
		"shop/deploy/web", " shop/secret/db-* ", "*/pods/a?", "app-[ab]/deployments.v1.apps/x", "clusterrole/system:node", "shop/deploy/web",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []filter.ObjectPattern{
		{Namespace: "shop", Kind: "deploy", Name: "web"}, {Namespace: "shop", Kind: "secret", Name: "db-*"},
		{Namespace: "*", Kind: "pods", Name: "a?"}, {Namespace: "app-[ab]", Kind: "deployments.v1.apps", Name: "x"},
		{Kind: "clusterrole", Name: "system:node"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseObjectsRefuses(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"":                      "write NAMESPACE/KIND/NAME, or KIND/NAME for a cluster-scoped kind",
		"web":                   "write NAMESPACE/KIND/NAME",
		"a/b/c/d":               "write NAMESPACE/KIND/NAME",
		"/deploy/web":           "the namespace is empty",
		"shop//web":             "the kind is empty",
		"shop/deploy/":          "the name is empty",
		"Shop/deploy/web":       `namespace "Shop"`,
		"sh**/deploy/web":       "single *",
		"shop/*/web":            "a kind can't be a pattern",
		"shop/de ploy/web":      `kind "de ploy": name it like pods`,
		"shop/deploy/a,b":       "only * ? and [ ]",
		"shop/deploy/[a":        "balanced",
		"shop/deploy/[a-z0-9]":  "one range",
		"shop/deploy/[^a]":      "no object can have such a name",
		"shop/deploy/a b":       "no object can have such a name",
		"clusterrole/..":        "no object can have such a name",
		"shop/deploy/{web,db}*": "only * ? and [ ]",
	} {
		_, err := filter.ParseObjects("--exclude-objects", []string{"shop/deploy/web", pattern})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--exclude-objects: \""+pattern+"\"") {
			t.Errorf("%q: error %v, want one with %q", pattern, err, want)
		}
	}
	_, err := filter.ParseObjects("f", []string{"web", "shop/*/x"})
	if got := strings.Count(err.Error(), "f: "); got != 2 {
		t.Errorf("every problem must be told: %v", err)
	}
}

func objects(t *testing.T, include, exclude string) (*filter.Objects, error) {
	t.Helper()
	included, err := filter.ParseObjects("include-objects", strings.Fields(include))
	if err != nil {
		t.Fatal(err)
	}
	excluded, err := filter.ParseObjects("exclude-objects", strings.Fields(exclude))
	if err != nil {
		t.Fatal(err)
	}
	return filter.NewObjects(included, excluded, resolveScoped)
}

func TestObjects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, include, exclude string
		selected, left         string // [namespace/]kind/name
	}{
		{"no patterns", "", "", "shop/pods/a persistentvolumes/a", ""},
		{"by name", "shop/deploy/web", "", "shop/deployments.apps/web", "shop/deployments.apps/db test/deployments.apps/web shop/pods/web"},
		{"globs", "sh*/secret/db-[ab] */po/w?b", "", "shop/secrets/db-a show/secrets/db-b any/pods/web", "shop/secrets/db-c app/secrets/db-a any/pods/wb"},
		{"cluster-scoped", "pv/data-*", "", "persistentvolumes/data-1", "persistentvolumes/logs shop/pods/data-1"},
		{"a Namespace alone", "ns/shop", "", "namespaces/shop", "namespaces/test shop/pods/a"},
		{"excluded alone", "", "shop/secret/*", "shop/pods/a test/secrets/a", "shop/secrets/a"},
		{"excluded beats included", "shop/secret/*", "*/secret/db", "shop/secrets/a", "shop/secrets/db"},
		{"names with colons", "clusterrole/system:node", "", "clusterroles.rbac.authorization.k8s.io/system:node", "clusterroles.rbac.authorization.k8s.io/system:nodes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, err := objects(t, c.include, c.exclude)
			if err != nil {
				t.Fatal(err)
			}
			for want, places := range map[bool]string{true: c.selected, false: c.left} {
				for place := range strings.FieldsSeq(places) {
					gr, namespace, name := split(place)
					if got := o.Includes(gr, namespace, name) && !o.Excludes(gr, namespace, name); got != want {
						t.Errorf("%s: %v, want %v", place, got, want)
					}
				}
			}
		})
	}
}

func split(place string) (gr schema.GroupResource, namespace, name string) {
	parts := strings.Split(place, "/")
	if len(parts) == 3 {
		namespace, parts = parts[0], parts[1:]
	}
	return schema.ParseGroupResource(parts[0]), namespace, parts[1]
}

func TestObjectsOfAKind(t *testing.T) {
	t.Parallel()
	pods, secrets := schema.ParseGroupResource("pods"), schema.ParseGroupResource("secrets")
	volumes := schema.ParseGroupResource("persistentvolumes")
	o, err := objects(t, "shop/po/b shop/pods/a app/po/z shop/secret/db-*", "shop/secret/db-1")
	if err != nil {
		t.Fatal(err)
	}
	if !o.AnyIncluded() || !o.Kind(pods) || !o.Kind(secrets) || o.Kind(volumes) {
		t.Error("only the kinds of the patterns can be included")
	}
	for namespace, want := range map[string]bool{"shop": true, "app": true, "other": false, "": false} {
		if got := o.Namespace(pods, namespace); got != want {
			t.Errorf("Namespace(pods, %q) = %v", namespace, got)
		}
	}
	if !o.Namespace(secrets, "shop") || o.Namespace(secrets, "app") || o.Namespace(volumes, "") {
		t.Error("only the namespaces of the patterns can hold what is included")
	}
	names, all := o.Literal(pods)
	want := []types.NamespacedName{{Namespace: "app", Name: "z"}, {Namespace: "shop", Name: "a"}, {Namespace: "shop", Name: "b"}}
	if diff := cmp.Diff(want, names); diff != "" || !all {
		t.Error(all, diff)
	}
	if names, all := o.Literal(secrets); names != nil || all {
		t.Errorf("a pattern needs a list: %v %v", names, all)
	}
	if names, all := o.Literal(volumes); names != nil || !all {
		t.Errorf("there is nothing to include: %v %v", names, all)
	}
	only, err := objects(t, "", "shop/po/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, all := only.Literal(pods); only.AnyIncluded() || !only.Kind(volumes) || all {
		t.Error("without include patterns every object can be included")
	}
}

func TestNilObjectsRestrictNothing(t *testing.T) {
	t.Parallel()
	o, err := objects(t, "", "")
	if err != nil || o != nil {
		t.Fatal(o, err)
	}
	pods := schema.ParseGroupResource("pods")
	if _, all := o.Literal(pods); all || !o.Includes(pods, "a", "b") || o.Excludes(pods, "a", "b") || o.AnyIncluded() || !o.Kind(pods) || !o.Namespace(pods, "a") {
		t.Error("nil must restrict nothing")
	}
}

func TestNewObjectsRefuses(t *testing.T) {
	t.Parallel()
	_, err := objects(t, "shop/gadget/a po/a", "shop/pv/a gizmo/b")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`include-objects: "shop/gadget/a": the cluster serves no kind "gadget"`,
		`include-objects: "po/a": pods are namespaced: write NAMESPACE/po/a, or */po/a for every namespace`,
		`exclude-objects: "shop/pv/a": persistentvolumes are cluster-scoped: write pv/a`,
		`exclude-objects: "gizmo/b": the cluster serves no kind "gizmo"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func FuzzParseObjects(f *testing.F) {
	for _, seed := range []string{"shop/deploy/web", "*/secret/db-[a-b]", "pv/x", "a//b", "[[]/po/]", "a/po/[!a]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		patterns, err := filter.ParseObjects("f", []string{text})
		if err != nil {
			return
		}
		// What is accepted can be used, and reads the same when it is written.
		again, err := filter.ParseObjects("f", []string{patterns[0].String()})
		if err != nil || again[0] != patterns[0] {
			t.Errorf("%q: %v %v", text, again, err)
		}
		anyKind := func(string) (schema.GroupResource, bool, bool) {
			return schema.GroupResource{Resource: "pods"}, patterns[0].Namespace != "", true
		}
		if _, err := filter.NewObjects(patterns, nil, anyKind); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestObjectsBetween(t *testing.T) {
	t.Parallel()
	include, err := filter.ParseObjects("include-objects", []string{"shop/secret/db", "shop/secret/web-*", "*/configmap/x", "clusterrole/view"})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{"secret": true, "configmap": true, "clusterrole": false}
	objects, err := filter.NewObjects(include, nil, func(name string) (schema.GroupResource, bool, bool) {
		namespaced, ok := kinds[name]
		return schema.GroupResource{Resource: name + "s"}, namespaced, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		resource, first, last string
		want                  bool
	}{
		{"secrets", "shop/a", "shop/db", true},
		{"secrets", "shop/db", "shop/e", true},
		{"secrets", "shop/e", "shop/v", false},
		{"secrets", "shop/e", "shop/web-1", true},
		{"secrets", "shop/web-2", "shop/z", true},
		{"secrets", "shop/weba", "shop/z", false},
		{"secrets", "mall/a", "zoo/z", true},
		{"configmaps", "a/a", "a/b", true},
		{"clusterroles", "admin", "edit", false},
		{"clusterroles", "edit", "zebra", true},
		{"pods", "a", "z", false},
	} {
		if got := objects.Between(schema.GroupResource{Resource: tc.resource}, tc.first, tc.last); got != tc.want {
			t.Errorf("%s from %s to %s: %t, want %t", tc.resource, tc.first, tc.last, got, tc.want)
		}
	}
	if !(*filter.Objects)(nil).Between(schema.GroupResource{Resource: "pods"}, "a", "b") {
		t.Error("nil restricts something")
	}
}

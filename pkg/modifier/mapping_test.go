package modifier_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// config is a ConfigMap for an action; change makes it another.
func config(name, label string, data map[string]string, change ...func(labels map[string]string)) corev1.ConfigMap {
	labels := map[string]string{velerov1.PluginConfigLabel: "", label: "RestoreItemAction"}
	for _, c := range change {
		c(labels)
	}
	return corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Data: data}
}

// fields decodes a spec as pkg/transform does.
func fields(t testing.TB, spec string) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(spec))
	decoder.UseNumber()
	var m map[string]any
	if err := decoder.Decode(&m); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return m
}

func core(resource string) schema.GroupResource { return schema.GroupResource{Resource: resource} }

func apps(resource string) schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: resource}
}

func batch(resource string) schema.GroupResource {
	return schema.GroupResource{Group: "batch", Resource: resource}
}

// Which ConfigMap counts is the same for both mappings.
func TestLabelledConfigMap(t *testing.T) {
	t.Parallel()
	const class, image = velerov1.ChangeStorageClassLabel, velerov1.ChangeImageNameLabel
	for _, c := range []struct {
		name    string
		maps    []corev1.ConfigMap
		classes bool
		wantErr string
	}{
		{name: "none"},
		{name: "one", maps: []corev1.ConfigMap{config("a", class, nil)}, classes: true},
		{name: "another action's", maps: []corev1.ConfigMap{config("a", image, nil)}},
		{name: "one beside another action's", maps: []corev1.ConfigMap{config("a", image, nil), config("b", class, nil)}, classes: true},
		{name: "no plugin config", maps: []corev1.ConfigMap{config("a", class, nil, func(l map[string]string) { delete(l, velerov1.PluginConfigLabel) })}},
		{name: "plugin config with a value", maps: []corev1.ConfigMap{config("a", class, nil, func(l map[string]string) { l[velerov1.PluginConfigLabel] = "true" })}, classes: true},
		{name: "another kind of plugin", maps: []corev1.ConfigMap{config("a", class, nil, func(l map[string]string) { l[class] = "BackupItemAction" })}},
		{name: "two", maps: []corev1.ConfigMap{config("a", class, nil), config("b", class, nil)},
			wantErr: `ConfigMaps "a" and "b" have the label velero.io/change-storage-class=RestoreItemAction; hint: take it from all but one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			classes, err := modifier.StorageClassesFrom(c.maps)
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr || classes != nil {
					t.Errorf("%v, %v", classes, err)
				}
				return
			}
			if (classes != nil) != c.classes || err != nil {
				t.Errorf("%v, %v", classes, err)
			}
		})
	}
	if _, err := modifier.ImagesFrom([]corev1.ConfigMap{config("a", image, nil), config("b", image, nil)}); err == nil || !strings.Contains(err.Error(), image) {
		t.Error(err)
	}
}

func TestStorageClasses(t *testing.T) {
	t.Parallel()
	classes, err := modifier.StorageClassesFrom([]corev1.ConfigMap{config("m", velerov1.ChangeStorageClassLabel,
		map[string]string{"gp2": "gp3\n", "slow": "fast", "fast": "slow", "same": "same"})})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		resource   schema.GroupResource
		spec, want string
		classes    []string
	}{
		{"claim", core("persistentvolumeclaims"), `{"storageClassName":"gp2","x":1}`, `{"storageClassName":"gp3","x":1}`, []string{"gp3"}},
		{"volume", core("persistentvolumes"), `{"storageClassName":"slow"}`, `{"storageClassName":"fast"}`, []string{"fast"}},
		{"once, not in a circle", core("persistentvolumes"), `{"storageClassName":"fast"}`, `{"storageClassName":"slow"}`, []string{"slow"}},
		{"not mapped", core("persistentvolumes"), `{"storageClassName":"gp"}`, `{"storageClassName":"gp"}`, nil},
		{"to itself", core("persistentvolumes"), `{"storageClassName":"same"}`, `{"storageClassName":"same"}`, nil},
		{"no class", core("persistentvolumeclaims"), `{}`, `{}`, nil},
		{"empty class", core("persistentvolumeclaims"), `{"storageClassName":""}`, `{"storageClassName":""}`, nil},
		{"class that is no text", core("persistentvolumeclaims"), `{"storageClassName":{"gp2":1}}`, `{"storageClassName":{"gp2":1}}`, nil},
		{"templates", apps("statefulsets"), `{"storageClassName":"gp2","volumeClaimTemplates":[{"spec":{"storageClassName":"slow"}},{"spec":{"storageClassName":"gp2"}},{"spec":{"storageClassName":"slow"}},{"spec":{"storageClassName":"x"}},{"spec":{}}]}`,
			`{"storageClassName":"gp2","volumeClaimTemplates":[{"spec":{"storageClassName":"fast"}},{"spec":{"storageClassName":"gp3"}},{"spec":{"storageClassName":"fast"}},{"spec":{"storageClassName":"x"}},{"spec":{}}]}`, []string{"fast", "gp3"}},
		{"templates that are none", apps("statefulsets"), `{"volumeClaimTemplates":[null,1,{"spec":[]},{}]}`, `{"volumeClaimTemplates":[null,1,{"spec":[]},{}]}`, nil},
		{"another kind", core("pods"), `{"storageClassName":"gp2"}`, `{"storageClassName":"gp2"}`, nil},
		{"another group", schema.GroupResource{Group: "example.org", Resource: "persistentvolumeclaims"}, `{"storageClassName":"gp2"}`, `{"storageClassName":"gp2"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec := fields(t, c.spec)
			changed, got := classes.Apply(c.resource, spec)
			if diff := cmp.Diff(fields(t, c.want), spec); diff != "" {
				t.Error(diff)
			}
			if !slices.Equal(got, c.classes) || changed != (c.classes != nil) {
				t.Errorf("changed: %v, classes %q", changed, got)
			}
		})
	}
}

func TestStorageClassesApplies(t *testing.T) {
	t.Parallel()
	classes, err := modifier.StorageClassesFrom([]corev1.ConfigMap{config("m", velerov1.ChangeStorageClassLabel, nil)})
	if err != nil {
		t.Fatal(err)
	}
	for gr, want := range map[schema.GroupResource]bool{
		core("persistentvolumes"): true, core("persistentvolumeclaims"): true, apps("statefulsets"): true,
		core("pods"): false, apps("deployments"): false, core("statefulsets"): false,
	} {
		if got := classes.Applies(gr); got != want {
			t.Errorf("%s: %v", gr, got)
		}
	}
}

func TestStorageClassesRefuseEmptyNames(t *testing.T) {
	t.Parallel()
	_, err := modifier.StorageClassesFrom([]corev1.ConfigMap{config("m", velerov1.ChangeStorageClassLabel, map[string]string{"a": "", "b": "x", "c": " \n"})})
	const want = `ConfigMap "m": storage class "a" has no new one; hint: give the key a value or remove it; ` +
		`ConfigMap "m": storage class "c" has no new one; hint: give the key a value or remove it`
	if err == nil || err.Error() != want {
		t.Error(err)
	}
}

func images(t testing.TB, rows map[string]string) *modifier.Images {
	t.Helper()
	i, err := modifier.ImagesFrom([]corev1.ConfigMap{config("m", velerov1.ChangeImageNameLabel, rows)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestImages(t *testing.T) {
	t.Parallel()
	pod := func(image string) string { return `{"containers":[{"image":"` + image + `"}]}` }
	for _, c := range []struct {
		name       string
		rows       map[string]string
		resource   schema.GroupResource
		spec, want string
	}{
		{"part", map[string]string{"a": "old.example.org,new.example.org:5000"}, core("pods"), pod("old.example.org/web:1"), pod("new.example.org:5000/web:1")},
		{"each occurrence", map[string]string{"a": "dev,test"}, core("pods"), pod("dev/image:dev"), pod("test/image:test")},
		{"spaces", map[string]string{"a": " dev , test \n"}, core("pods"), pod("dev/image:1"), pod("test/image:1")},
		{"first row by key", map[string]string{"b": "x,b", "a": "x,a", "c": "x,c"}, core("pods"), pod("x"), pod("a")},
		{"first row that is in it", map[string]string{"a": "z,a", "b": "x,b"}, core("pods"), pod("x"), pod("b")},
		{"one row only", map[string]string{"a": "x,y", "b": "y,z"}, core("pods"), pod("x"), pod("y")},
		{"not in it", map[string]string{"a": "x,y"}, core("pods"), pod("web"), pod("web")},
		{"rows without effect", map[string]string{"a": "x", "b": "x,", "c": ",y", "d": "x,y,z", "e": ""}, core("pods"), pod("x"), pod("x")},
		{"every container", map[string]string{"a": "x,y"}, core("pods"), `{"containers":[{"image":"x"},{"image":"z"},{"image":"x1"}],"initContainers":[{"image":"x"}],"ephemeralContainers":[{"image":"x"}],"image":"x"}`,
			`{"containers":[{"image":"y"},{"image":"z"},{"image":"y1"}],"initContainers":[{"image":"y"}],"ephemeralContainers":[{"image":"y"}],"image":"x"}`},
		{"what are no containers", map[string]string{"a": "x,y"}, core("pods"), `{"containers":[null,"x",{"image":["x"]},{}],"initContainers":{"image":"x"},"ephemeralContainers":null}`,
			`{"containers":[null,"x",{"image":["x"]},{}],"initContainers":{"image":"x"},"ephemeralContainers":null}`},
		{"deployment", map[string]string{"a": "x,y"}, apps("deployments"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"statefulset", map[string]string{"a": "x,y"}, apps("statefulsets"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"daemonset", map[string]string{"a": "x,y"}, apps("daemonsets"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"replicaset", map[string]string{"a": "x,y"}, apps("replicasets"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"replication controller", map[string]string{"a": "x,y"}, core("replicationcontrollers"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"job", map[string]string{"a": "x,y"}, batch("jobs"), `{"template":{"spec":` + pod("x") + `}}`, `{"template":{"spec":` + pod("y") + `}}`},
		{"cron job", map[string]string{"a": "x,y"}, batch("cronjobs"), `{"jobTemplate":{"spec":{"template":{"spec":` + pod("x") + `}}}}`, `{"jobTemplate":{"spec":{"template":{"spec":` + pod("y") + `}}}}`},
		{"template that is none", map[string]string{"a": "x,y"}, apps("deployments"), `{"template":[` + pod("x") + `]}`, `{"template":[` + pod("x") + `]}`},
		{"another kind", map[string]string{"a": "x,y"}, core("podtemplates"), pod("x"), pod("x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spec := fields(t, c.spec)
			changed := images(t, c.rows).Apply(c.resource, spec)
			if diff := cmp.Diff(fields(t, c.want), spec); diff != "" {
				t.Error(diff)
			}
			if changed != (c.spec != c.want) {
				t.Errorf("changed: %v", changed)
			}
		})
	}
}

func TestImagesWarnings(t *testing.T) {
	t.Parallel()
	got := images(t, map[string]string{"good": "x,y", "b": "x", "a": ",y"}).Warnings()
	const hint = ": the row is passed over; hint: write the old and the new part of the name with one comma between"
	if diff := cmp.Diff([]string{`ConfigMap "m", key "a"` + hint, `ConfigMap "m", key "b"` + hint}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoMappings(t *testing.T) {
	t.Parallel()
	classes, err := modifier.StorageClassesFrom(nil)
	if classes != nil || err != nil || classes.Applies(core("persistentvolumes")) {
		t.Errorf("%v, %v", classes, err)
	}
	if changed, names := classes.Apply(core("persistentvolumes"), map[string]any{"storageClassName": "a"}); changed || names != nil {
		t.Errorf("%v, %q", changed, names)
	}
	images, err := modifier.ImagesFrom(nil)
	if images != nil || err != nil || images.Applies(core("pods")) || images.Warnings() != nil || images.Apply(core("pods"), map[string]any{}) {
		t.Errorf("%v, %v", images, err)
	}
}

// Specs of hostile objects don't break the mappings.
func FuzzMappings(f *testing.F) {
	for _, seed := range []string{
		`{"containers":[{"image":"x"}],"initContainers":[{"image":"x/y"}]}`,
		`{"template":{"spec":{"containers":[{"image":"x"},null]}},"volumeClaimTemplates":[{"spec":{"storageClassName":"a"}},[]]}`,
		`{"jobTemplate":{"spec":{"template":{"spec":{"ephemeralContainers":[{"image":"x"}]}}}}}`,
		`{"storageClassName":"a"}`, `{"template":[]}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	classes, err := modifier.StorageClassesFrom([]corev1.ConfigMap{config("m", velerov1.ChangeStorageClassLabel, map[string]string{"a": "b"})})
	if err != nil {
		f.Fatal(err)
	}
	names := images(f, map[string]string{"a": "x,y"})
	kinds := []schema.GroupResource{core("persistentvolumeclaims"), apps("statefulsets"), core("pods"), apps("deployments"), batch("cronjobs")}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, gr := range kinds {
			var spec, before map[string]any
			if json.Unmarshal(body, &spec) != nil || json.Unmarshal(body, &before) != nil {
				t.Skip()
			}
			replaced, _ := classes.Apply(gr, spec)
			renamed := names.Apply(gr, spec)
			if changed := !cmp.Equal(before, spec); changed != (replaced || renamed) {
				t.Errorf("%s: changed %v, told %v %v: %s", gr, changed, replaced, renamed, body)
			}
			if bytes.Contains(body, []byte("storageClassName")) {
				continue
			}
			if replaced {
				t.Errorf("%s: a class out of nothing", gr)
			}
		}
	})
}

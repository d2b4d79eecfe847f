package restore

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// Of several default classes Kubernetes takes the newest.
func TestNewestDefault(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	class := func(name, mark string, age time.Duration) storagev1.StorageClass {
		return storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(begin.Add(-age)), Annotations: map[string]string{defaultMarks[0]: mark}},
			Provisioner: name + ".example.com",
		}
	}
	old := class("beta", "", time.Hour)
	old.Annotations = map[string]string{defaultMarks[1]: "true"}
	for name, tc := range map[string]struct {
		classes []storagev1.StorageClass
		want    string
	}{
		"none":           {nil, ""},
		"none is marked": {[]storagev1.StorageClass{class("a", "false", 0), class("b", "", 0)}, ""},
		"one":            {[]storagev1.StorageClass{class("a", "", 0), class("b", "true", 0)}, "b"},
		"old mark":       {[]storagev1.StorageClass{old}, "beta"},
		"newest":         {[]storagev1.StorageClass{class("a", "true", time.Hour), class("b", "true", 0), old}, "b"},
		"by name":        {[]storagev1.StorageClass{class("b", "true", 0), class("a", "true", 0)}, "a"},
	} {
		got, ok := newestDefault(tc.classes)
		if got.name != tc.want || ok != (tc.want != "") || ok && got.provisioner != tc.want+".example.com" {
			t.Errorf("%s: %+v (%t), want %q", name, got, ok, tc.want)
		}
	}
}

// The class that makes a claim's volume must be one of the driver, whether the claim
// names it or gets it.
func TestWrongClass(t *testing.T) {
	t.Parallel()
	const driver = "d.example.com"
	is := func(provisioner string) func() (storageClass, error) {
		return func() (storageClass, error) { return storageClass{"standard", provisioner}, nil }
	}
	none := func() (storageClass, error) { return storageClass{}, errNoDefault }
	for name, tc := range map[string]struct {
		claim         string // its spec
		standard      func() (storageClass, error)
		driver        string
		want          string // in the error; empty for none
		filledByOther bool
	}{
		"of the driver":               {`{"storageClassName":"right"}`, none, driver, "", false},
		"of another":                  {`{"storageClassName":"local"}`, is(driver), driver, velerov1.ChangeStorageClassLabel, true},
		"no class":                    {`{"storageClassName":""}`, is("other.example.com"), driver, "", false},
		"default of the driver":       {`{}`, is("D.example.com"), driver, "", false},
		"default of another":          {`{}`, is("other.example.com"), driver, `default class "standard" is of "other.example.com"`, true},
		"no default":                  {`{}`, none, driver, "no default class", true},
		"no default, driver unknown":  {`{}`, none, "", "no default class", true},
		"default unknown":             {`{}`, is(""), driver, "", true},
		"default, but driver unknown": {`{}`, is("other.example.com"), "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := fixtureOperation(t, velerov1.RestoreSpec{})
			s := newSnapshots(o)
			s.storage["right"] = func() (string, error) { return driver, nil }
			s.storage["local"] = func() (string, error) { return "rancher.io/local-path", nil }
			s.defaults[""] = tc.standard
			obj, err := transform.Parse([]byte(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data","namespace":"shop"},"spec":` + tc.claim + `}`))
			if err != nil {
				t.Fatal(err)
			}
			err = s.wrongClass(t.Context(), obj, tc.driver)
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "hint: ")) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if got := s.fillsOthers(t.Context(), obj, tc.driver); got != tc.filledByOther {
				t.Errorf("others fill it: %t", got)
			}
		})
	}
}

// The old annotation of a class wins over the field.
func TestClassByAnnotation(t *testing.T) {
	t.Parallel()
	obj, err := transform.Parse([]byte(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data","namespace":"shop","annotations":{"volume.beta.kubernetes.io/storage-class":"local"}},"spec":{"storageClassName":"right"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if class, named, err := classOf(obj); class != "local" || !named || err != nil {
		t.Errorf("class %q (%t), error %v", class, named, err)
	}
}

func TestLiveClass(t *testing.T) {
	t.Parallel()
	class := "late"
	pvc := &corev1.PersistentVolumeClaim{}
	late := map[string]bool{class: true}
	if waitsForPod(slim(pvc), late) {
		t.Error("a claim without class waits")
	}
	pvc.Spec.StorageClassName = &class
	if !waitsForPod(slim(pvc), late) {
		t.Error("a claim of the class doesn't wait")
	}
	pvc.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: "other"}
	if waitsForPod(slim(pvc), late) {
		t.Error("the annotation doesn't win")
	}
}

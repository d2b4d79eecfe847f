package demo

import (
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
)

func TestChooseClass(t *testing.T) {
	t.Parallel()
	fast, slow := storageClass("fast", "disk.example.com"), storageClass("slow", "disk.example.com")
	local := storageClass("local", "folders.example.com")
	kept := storageClass("fast", "disk.example.com")
	policy := corev1.PersistentVolumeReclaimRetain
	kept.ReclaimPolicy = &policy
	preferred := storageClass("slow", "disk.example.com")
	preferred.Annotations = map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}
	plain := snapshotClass("a", "disk.example.com")
	labelled := snapshotClass("b", "disk.example.com")
	labelled.SetLabels(map[string]string{"velero.io/csi-volumesnapshot-class": "true"})
	marked := snapshotClass("b", "disk.example.com")
	marked.SetAnnotations(map[string]string{"snapshot.storage.kubernetes.io/is-default-class": "true"})
	second := snapshotClass("c", "disk.example.com")

	type storage = []storagev1.StorageClass
	type snapshots = []unstructured.Unstructured
	for name, tt := range map[string]struct {
		storage   storage
		snapshots snapshots
		want      string
	}{
		"nothing":                   {nil, nil, ""},
		"no class for snapshots":    {storage{fast}, nil, ""},
		"that of another driver":    {storage{local}, snapshots{plain}, ""},
		"one driver that can":       {storage{local, fast}, snapshots{plain}, "fast"},
		"the first by name":         {storage{slow, fast}, snapshots{plain}, "fast"},
		"the default class":         {storage{fast, preferred}, snapshots{plain}, "slow"},
		"volumes that stay":         {storage{kept, slow}, snapshots{plain}, "slow"},
		"several, none marked":      {storage{fast}, snapshots{plain, second}, ""},
		"several, one labelled":     {storage{fast}, snapshots{plain, labelled}, "fast"},
		"several, one is a default": {storage{fast}, snapshots{plain, marked}, "fast"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chooseClass(tt.storage, tt.snapshots); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSnapshotAPIThatIsNotServed(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	if class, err := snapshottable(t.Context(), &rest.Config{Host: server.URL}); class != "" || err != nil {
		t.Errorf("class %q, %v", class, err)
	}
}

func storageClass(name, driver string) storagev1.StorageClass {
	return storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: driver}
}

func snapshotClass(name, driver string) unstructured.Unstructured {
	class := unstructured.Unstructured{Object: map[string]any{"driver": driver}}
	class.SetName(name)
	return class
}

package compare_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		before, after string // JSON objects, "" for none
		resource      string
		options       compare.Options
		want          []string
		excepted      int
	}{
		{
			name:     "the same",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x"},"data":{"a":"1"}}`,
			after:    `{"metadata":{"name":"x"},"data":{"a":"1"}}`,
		},
		{
			name:     "data changed",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x"},"data":{"a":"1","b.c":"2"}}`,
			after:    `{"metadata":{"name":"x"},"data":{"a":"1"}}`,
			want:     []string{`configmaps/x: data[b.c] was "2", is missing`},
		},
		{
			name:     "gone",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x"}}`,
			want:     []string{"configmaps/x: was there, is missing"},
		},
		{
			name:     "new",
			resource: "configmaps",
			after:    `{"metadata":{"name":"x"}}`,
			want:     []string{"configmaps/x: was missing, is there"},
		},
		{
			name:     "server-set fields and Velero's labels",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x","uid":"1","resourceVersion":"1"}}`,
			after:    `{"metadata":{"name":"x","uid":"2","resourceVersion":"2","labels":{"velero.io/restore-name":"r"}}}`,
			excepted: 3,
		},
		{
			name:     "a user's label lost beside Velero's",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x","labels":{"team":"a"}}}`,
			after:    `{"metadata":{"name":"x","labels":{"velero.io/restore-name":"r"}}}`,
			want:     []string{`configmaps/x: metadata.labels.team was "a", is missing`},
			excepted: 1,
		},
		{
			name:     "excluded by label",
			resource: "configmaps",
			before:   `{"metadata":{"name":"x","labels":{"velero.io/exclude-from-backup":"true"}}}`,
			excepted: 1,
		},
		{
			name:     "a finished Job",
			resource: "jobs.batch",
			before:   `{"metadata":{"name":"x"},"status":{"completionTime":"2026-01-01T00:00:00Z"}}`,
			excepted: 1,
		},
		{
			name:     "a running Job",
			resource: "jobs.batch",
			before:   `{"metadata":{"name":"x"},"status":{"active":1}}`,
			want:     []string{"jobs.batch/x: was there, is missing"},
		},
		{
			name:     "cluster address allocated anew",
			resource: "services",
			before:   `{"metadata":{"name":"x"},"spec":{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1"]}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"clusterIP":"10.0.0.2","clusterIPs":["10.0.0.2"]}}`,
			excepted: 2,
		},
		{
			name:     "headless no more",
			resource: "services",
			before:   `{"metadata":{"name":"x"},"spec":{"clusterIP":"None"}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"clusterIP":"10.0.0.2"}}`,
			want:     []string{`services/x: spec.clusterIP was "None", is "10.0.0.2"`},
		},
		{
			name:     "node ports, chosen and allocated",
			resource: "services",
			before: `{"metadata":{"name":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":
				"{\"spec\":{\"ports\":[{\"nodePort\":31234,\"port\":80},{\"port\":81}]}}"}},
				"spec":{"ports":[{"nodePort":31234,"port":80},{"nodePort":31235,"port":81}]}}`,
			after: `{"metadata":{"name":"x","annotations":{"kubectl.kubernetes.io/last-applied-configuration":
				"{\"spec\":{\"ports\":[{\"nodePort\":31234,\"port\":80},{\"port\":81}]}}"}},
				"spec":{"ports":[{"nodePort":30000,"port":80},{"nodePort":30001,"port":81}]}}`,
			want:     []string{"services/x: spec.ports[0].nodePort was 31234, is 30000"},
			excepted: 1,
		},
		{
			name:     "limits given by the LimitRange",
			resource: "pods",
			before:   `{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","resources":{}}]}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"100m"}}}]}}`,
			excepted: 1,
		},
		{
			name:     "limits changed",
			resource: "pods",
			before:   `{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"100m"}}}]}}`,
			want:     []string{`pods/x: spec.containers[0].resources.limits.cpu was "1", is "100m"`},
		},
		{
			name:     "a volume made from a snapshot",
			resource: "persistentvolumeclaims",
			before:   `{"metadata":{"name":"x"},"spec":{"volumeName":"pvc-1","storageClassName":"a"}}`,
			after: `{"metadata":{"name":"x"},"spec":{"volumeName":"pvc-2","storageClassName":"a",
				"dataSource":{"kind":"VolumeSnapshot","name":"s"},"dataSourceRef":{"kind":"VolumeSnapshot","name":"s"}}}`,
			excepted: 5,
		},
		{
			name:     "another class than that of the snapshot's volume",
			resource: "persistentvolumeclaims",
			before:   `{"metadata":{"name":"x"},"spec":{"storageClassName":"a"}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"storageClassName":"b","dataSource":{"kind":"VolumeSnapshot"}}}`,
			want:     []string{`persistentvolumeclaims/x: spec.storageClassName was "a", is "b"`},
			excepted: 1,
		},
		{
			name:     "another volume, of no snapshot",
			resource: "persistentvolumeclaims",
			before:   `{"metadata":{"name":"x"},"spec":{"volumeName":"shop-data"}}`,
			after:    `{"metadata":{"name":"x"},"spec":{"volumeName":"pvc-2"}}`,
			want:     []string{`persistentvolumeclaims/x: spec.volumeName was "shop-data", is "pvc-2"`},
		},
		{
			name:     "root certificate in the same cluster",
			resource: "configmaps",
			before:   `{"metadata":{"name":"kube-root-ca.crt"},"data":{"ca.crt":"1"}}`,
			after:    `{"metadata":{"name":"kube-root-ca.crt"},"data":{"ca.crt":"2"}}`,
			want:     []string{`configmaps/kube-root-ca.crt: data[ca.crt] was "1", is "2"`},
		},
		{
			name:     "root certificate in another cluster",
			resource: "configmaps",
			options:  compare.Options{OtherCluster: true},
			before:   `{"metadata":{"name":"kube-root-ca.crt"},"data":{"ca.crt":"1"}}`,
			after:    `{"metadata":{"name":"kube-root-ca.crt"},"data":{"ca.crt":"2"}}`,
			excepted: 1,
		},
	}
	written, err := compare.Written()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			result := compare.Compare(state(t, tt.resource, tt.before), state(t, tt.resource, tt.after), written, tt.options)
			var got []string
			for _, d := range result.Differences {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
			excepted := 0
			for _, n := range result.Excepted {
				excepted += n
			}
			if excepted != tt.excepted {
				t.Errorf("excepted %v, want %d", result.Excepted, tt.excepted)
			}
		})
	}
}

func TestEveryExceptionHasAReason(t *testing.T) {
	t.Parallel()
	written, err := compare.Written()
	if err != nil {
		t.Fatal(err)
	}
	for i, exception := range written.Objects {
		if exception.Reason == "" || len(exception.Resources)+len(exception.Names)+len(exception.Label) == 0 {
			t.Errorf("objects[%d] %+v: no reason, or no condition", i, exception)
		}
	}
	for i, exception := range written.Fields {
		if exception.Reason == "" || len(exception.Fields) == 0 {
			t.Errorf("fields[%d] %+v: no reason, or no field", i, exception)
		}
	}
}

func TestLoadFixture(t *testing.T) {
	t.Parallel()
	loaded, err := compare.Load(os.DirFS("../../fixtures/velero-1.18.0/state-before"))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []compare.Key{
		{Resource: "widgets.shop.example.com", Name: "gear"},
		{Resource: "persistentvolumes", Name: "shop-data"},
		{Resource: "endpoints", Name: "web"},
	} {
		if loaded[key] == nil {
			t.Errorf("%s isn't loaded", key)
		}
	}
	if around := loaded.Around(); !slices.Contains(around, compare.Key{Resource: "namespaces", Name: "shop"}) {
		t.Errorf("objects around: %v", around)
	}
}

func state(t *testing.T, resource, text string) compare.State {
	t.Helper()
	if text == "" {
		return compare.State{}
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"kind":"K","apiVersion":"v1",`+text[1:]), object); err != nil {
		t.Fatal(err)
	}
	return compare.State{{Resource: resource, Name: object.GetName()}: object}
}

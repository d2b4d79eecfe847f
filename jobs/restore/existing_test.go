package restore

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

type object = map[string]any

func TestMergePatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name              string
		have, want, patch object
	}{
		{"equal", object{"a": object{"b": "c"}}, object{"a": object{"b": "c"}}, object{}},
		{"changed", object{"a": object{"b": "c", "d": "e"}}, object{"a": object{"b": "x", "d": "e"}}, object{"a": object{"b": "x"}}},
		{"removed", object{"a": "b", "c": object{"d": "e"}}, object{"c": object{}}, object{"a": nil, "c": object{"d": nil}}},
		{"added", object{}, object{"a": []any{"b"}}, object{"a": []any{"b"}}},
		{"list replaced", object{"a": []any{"b"}}, object{"a": []any{"b", "c"}}, object{"a": []any{"b", "c"}}},
		{"text becomes map", object{"a": "b"}, object{"a": object{"c": "d"}}, object{"a": object{"c": "d"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.patch, mergePatch(tc.have, tc.want)); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMergeServiceAccountKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	have := object{
		"metadata": object{"labels": object{"a": "live"}, "annotations": object{"x": "live"}},
		"secrets":  []any{object{"name": "one"}},
	}
	want := object{
		"metadata":         object{"labels": object{"a": "archived", "b": "archived"}, "annotations": object{"x": "archived"}},
		"secrets":          []any{object{"name": "one"}, object{"name": "two"}},
		"imagePullSecrets": []any{object{"name": "pull"}},
	}
	patch := object{
		"metadata":         object{"labels": object{"b": "archived"}},
		"secrets":          []any{object{"name": "one"}, object{"name": "two"}},
		"imagePullSecrets": []any{object{"name": "pull"}},
	}
	if diff := cmp.Diff(patch, mergeServiceAccount(have, want)); diff != "" {
		t.Errorf("patch (-want +got):\n%s", diff)
	}
	if got := mergeServiceAccount(want, have); len(got) != 0 {
		t.Errorf("patch of an account that has everything = %v", got)
	}
}

func TestExists(t *testing.T) {
	t.Parallel()
	configMaps := schema.GroupResource{Resource: "configmaps"}
	invalid := func(messages ...string) error {
		err := apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, "web", nil)
		for _, message := range messages {
			err.ErrStatus.Details.Causes = append(err.ErrStatus.Details.Causes, metav1.StatusCause{Message: message})
		}
		return err
	}
	const taken = "Invalid value: 31234: provided port is already allocated"
	deleting := apierrors.NewAlreadyExists(configMaps, "x")
	deleting.ErrStatus.Message = `object is being deleted: configmaps "x" already exists`
	for _, tc := range []struct {
		name     string
		resource schema.GroupResource
		err      error
		want     bool
	}{
		{"already exists", configMaps, apierrors.NewAlreadyExists(configMaps, "x"), true},
		{"being deleted", configMaps, deleting, false},
		{"port taken", services, invalid(taken), true},
		{"port taken and something else", services, invalid(taken, "bad"), false},
		{"port taken of another kind", configMaps, invalid(taken), false},
		{"invalid", services, invalid(), false},
		{"other", services, errors.New("x"), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := exists(tc.resource, tc.err); got != tc.want {
				t.Errorf("exists = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMadeByUs(t *testing.T) {
	t.Parallel()
	o := &operation{restore: &velerov1.Restore{Spec: velerov1.RestoreSpec{BackupName: "b"}}}
	o.restore.Name = "r"
	o.restore.CreationTimestamp = metav1.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name, labels, created string
		want                  bool
	}{
		{"ours", `{"velero.io/restore-name":"r","velero.io/backup-name":"b"}`, "2026-01-02T03:04:05Z", true},
		{"of an earlier restore of that name", `{"velero.io/restore-name":"r","velero.io/backup-name":"b"}`, "2026-01-02T03:04:04Z", false},
		{"of another restore", `{"velero.io/restore-name":"q","velero.io/backup-name":"b"}`, "2026-01-02T03:04:05Z", false},
		{"of nobody", `{}`, "2026-01-02T03:04:05Z", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			live, err := transform.Parse([]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","creationTimestamp":"` + tc.created + `","labels":` + tc.labels + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := o.madeByUs(live); got != tc.want {
				t.Errorf("madeByUs = %t, want %t", got, tc.want)
			}
		})
	}
}

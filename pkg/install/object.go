package install

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v2alpha1"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// Action is what happened to an object.
type Action string

// What happened to an object, in kubectl's words.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Deleted    Action = "deleted"
)

// Change is what happened to one object.
type Change struct {
	Object ref.Object
	Action Action
}

// String is the line that kubectl would print: "kind.group/name action".
func (c Change) String() string { return Name(c.Object) + " " + string(c.Action) }

// Name is an object in the form of kubectl's output: "kind.group/name".
func Name(o ref.Object) string {
	kind := strings.ToLower(o.Kind)
	if o.Resource.Group != "" {
		kind += "." + o.Resource.Group
	}
	return kind + "/" + o.Name
}

// The kinds that an installation consists of.
var (
	crdKind                = kind{"apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"}
	namespaceKind          = kind{"", "v1", "Namespace", "namespaces"}
	clusterRoleKind        = kind{"rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"}
	clusterRoleBindingKind = kind{"rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"}

	claimKind = kind{"", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"}

	kinds = []kind{
		claimKind, crdKind, namespaceKind, clusterRoleKind, clusterRoleBindingKind,
		{"", "v1", "ServiceAccount", "serviceaccounts"},
		{"rbac.authorization.k8s.io", "v1", "Role", "roles"},
		{"rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"},
		{"", "v1", "Secret", "secrets"},
		{"velero.io", "v1", "BackupStorageLocation", "backupstoragelocations"},
		{"velero.io", "v1", "VolumeSnapshotLocation", "volumesnapshotlocations"},
		{"", "v1", "PodTemplate", "podtemplates"},
		{"batch", "v1", "CronJob", "cronjobs"},
	}
)

// veleroResources are the kinds that only an installation, or a Velero server, has.
var veleroResources = []schema.GroupVersionResource{
	velerov1.SchemeGroupVersion.WithResource("backups"),
	velerov1.SchemeGroupVersion.WithResource("restores"),
	velerov1.SchemeGroupVersion.WithResource("schedules"),
	velerov1.SchemeGroupVersion.WithResource("backupstoragelocations"),
	velerov1.SchemeGroupVersion.WithResource("volumesnapshotlocations"),
	velerov1.SchemeGroupVersion.WithResource("deletebackuprequests"),
	velerov1.SchemeGroupVersion.WithResource("downloadrequests"),
	velerov1.SchemeGroupVersion.WithResource("serverstatusrequests"),
	velerov1.SchemeGroupVersion.WithResource("podvolumebackups"),
	velerov1.SchemeGroupVersion.WithResource("podvolumerestores"),
	velerov1.SchemeGroupVersion.WithResource("backuprepositories"),
	v2alpha1.SchemeGroupVersion.WithResource("datauploads"),
	v2alpha1.SchemeGroupVersion.WithResource("datadownloads"),
}

// kind is a kind and the name of its resource in URLs.
type kind struct{ group, version, kind, resource string }

func (k kind) gvr() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.resource}
}

func (k kind) named(name string) ref.Object {
	return ref.Object{Resource: k.gvr(), Kind: k.kind, Name: name}
}

// Place says where an object of an installation lives in the API.
func Place(u *unstructured.Unstructured) (ref.Object, error) {
	gvk := u.GroupVersionKind()
	for _, k := range kinds {
		if gvk == (schema.GroupVersionKind{Group: k.group, Version: k.version, Kind: k.kind}) {
			o := k.named(u.GetName())
			o.Namespace = u.GetNamespace()
			return o, nil
		}
	}
	return ref.Object{}, fmt.Errorf("%s is no kind of an installation", gvk)
}

// Manifest is an object as it is to be applied: without status and without fields
// that are null, which an encoded Go object has and the API server would take for
// something that was asked for.
func Manifest(o runtime.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", o, err)
	}
	delete(content, "status")
	dropNulls(content)
	return &unstructured.Unstructured{Object: content}, nil
}

func dropNulls(value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, field := range value {
			if field == nil {
				delete(value, key)
				continue
			}
			dropNulls(field)
		}
	case []any:
		for _, item := range value {
			dropNulls(item)
		}
	}
}

package install

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// roleName is the name of the Role and RoleBinding in the installation's namespace.
const roleName = "velero"

// accounts are those that Jobs run as. That of restores has no rights of its own: a
// restore is given them by whoever starts it, for as long as it takes.
func accounts(o Options) []runtime.Object {
	var out []runtime.Object
	for _, name := range []string{launch.ServiceAccount, launch.RestoreServiceAccount} {
		account := &corev1.ServiceAccount{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
			ObjectMeta: named(o.Namespace, name),
		}
		account.Annotations = o.ServiceAccountAnnotations
		out = append(out, account)
	}
	return out
}

// clusterRole is what backup, deletion and maintenance may do anywhere: read all,
// and write only what snapshots and hooks need.
func clusterRole(o Options) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRole"},
		ObjectMeta: named("", launch.InstallBinding(o.Namespace)),
		Rules: []rbacv1.PolicyRule{
			// A backup may hold any object.
			{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch"}},
			// Backup hooks are commands in containers.
			{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}},
			// Snapshots are taken and deleted in the namespace of their volume's claim.
			{
				APIGroups: []string{"snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"},
				Resources: []string{
					"volumesnapshots", "volumesnapshotcontents",
					"volumegroupsnapshots", "volumegroupsnapshotcontents",
				},
				Verbs: []string{"create", "update", "patch", "delete"},
			},
			// A driver that can't list its snapshots deletes one whose handle the content's
			// status names, and that is only there once somebody writes it.
			{
				APIGroups: []string{"snapshot.storage.k8s.io", "groupsnapshot.storage.k8s.io"},
				Resources: []string{"volumesnapshotcontents/status", "volumegroupsnapshotcontents/status"},
				Verbs:     []string{"update", "patch"},
			},
			// A volume made from a snapshot, to read its data, is given another
			// reclaim policy, and so is the one that holds backups, to outlive its claim.
			{APIGroups: []string{""}, Resources: []string{"persistentvolumes"}, Verbs: []string{"update", "patch"}},
			// Maintenance takes back the rights of restores that are over.
			{APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterrolebindings"}, Verbs: []string{"delete"}},
		},
	}
}

func clusterRoleBinding(o Options) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"},
		ObjectMeta: named("", launch.InstallBinding(o.Namespace)),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: launch.InstallBinding(o.Namespace)},
		Subjects:   subjects(o),
	}
}

// role is what backup, deletion and maintenance may do in the installation's own
// namespace.
func role(o Options) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: named(o.Namespace, roleName),
		Rules: []rbacv1.PolicyRule{
			{
				APIGroups: []string{velerov1.GroupName}, Resources: []string{"*"},
				Verbs: []string{"create", "update", "patch", "delete", "deletecollection"},
			},
			// Maintenance ends Jobs that can't start.
			{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"create", "update", "patch", "delete"}},
			// What happened to a Backup is told by Events on it.
			{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		},
	}
}

func roleBinding(o Options) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "RoleBinding"},
		ObjectMeta: named(o.Namespace, roleName),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: roleName},
		Subjects:   subjects(o),
	}
}

func subjects(o Options) []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: o.Namespace, Name: launch.ServiceAccount}}
}

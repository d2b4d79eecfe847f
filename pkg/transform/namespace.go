package transform

import corev1 "k8s.io/api/core/v1"

// Namespace prepares an archived Namespace for being created under another or
// the same name: labels, annotations and spec come along. It gets no labels of
// the restore, since deleting what a restore made by its label must not take a
// whole namespace.
func Namespace(obj *Object, name string) {
	strip(obj)
	obj.RemoveMeta("finalizers", "managedFields")
	obj.SetName(name)
	if obj.Label(corev1.LabelMetadataName) != "" {
		obj.SetLabel(corev1.LabelMetadataName, name)
	}
}

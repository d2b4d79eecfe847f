package transform

// binding follows the namespaces of the subjects of RoleBindings and
// ClusterRoleBindings.
func binding(o *Options, obj *Object) (Decision, error) {
	if len(o.NamespaceMapping) == 0 {
		return Decision{}, nil
	}
	subjects, err := obj.EditList("subjects")
	if err != nil {
		return Decision{}, err
	}
	for _, subject := range elements(subjects) {
		o.mapNamespace(subject)
	}
	return Decision{}, nil
}

// Package ref names one object of a cluster. It is the one way in which the
// other packages say which object they mean; it knows nothing else.
package ref

import "k8s.io/apimachinery/pkg/runtime/schema"

// Object is the place of one object. The zero value means no object.
type Object struct {
	// Resource is the group, version and plural name, as in a URL of the API.
	Resource schema.GroupVersionResource
	// Kind is the object's kind; it may be empty where only the place matters.
	Kind string
	// Namespace is empty for cluster-scoped objects.
	Namespace string
	Name      string
}

// IsZero reports whether o names nothing.
func (o Object) IsZero() bool { return o == Object{} }

// String is "[NAMESPACE/]RESOURCE[.GROUP]/NAME", the form in which commands
// take an object.
func (o Object) String() string {
	s := o.Resource.GroupResource().String()
	if o.Namespace != "" {
		s = o.Namespace + "/" + s
	}
	if o.Name != "" {
		s += "/" + o.Name
	}
	return s
}

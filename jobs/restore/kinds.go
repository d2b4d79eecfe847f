package restore

import "k8s.io/apimachinery/pkg/runtime/schema"

// The kinds that the restore itself treats in a special way.
var (
	definitions     = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}
	namespaceKind   = schema.GroupResource{Resource: "namespaces"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
	services        = schema.GroupResource{Resource: "services"}
	secrets         = schema.GroupResource{Resource: "secrets"}
)

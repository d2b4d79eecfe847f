package transform

import "strings"

// The names under which the API server knows service accounts and all service
// accounts of a namespace.
const (
	accountPrefix  = "system:serviceaccount:"
	accountsPrefix = "system:serviceaccounts:"
)

// accountName follows the namespace in the name of a user or group that stands
// for service accounts.
func accountName(o *Options, value any) any {
	name, _ := value.(string)
	if namespace, ok := strings.CutPrefix(name, accountsPrefix); ok {
		return accountsPrefix + o.target(namespace)
	}
	rest, ok := strings.CutPrefix(name, accountPrefix)
	if !ok {
		return value
	}
	namespace, account, ok := strings.Cut(rest, ":")
	if !ok {
		return value
	}
	return accountPrefix + o.target(namespace) + ":" + account
}

// ruleAboutNamespaces follows the names in a rule about Namespaces and nothing
// else: in a rule about other kinds, too, the names may be those of the others.
func ruleAboutNamespaces(o *Options, value any) any {
	rule, _ := value.(map[string]any)
	resources, _ := rule["resources"].([]any)
	for _, resource := range resources {
		name, _ := resource.(string)
		if kind, _, _ := strings.Cut(name, "/"); kind != "namespaces" {
			return value
		}
	}
	if names, ok := rule["resourceNames"].([]any); ok && len(resources) > 0 {
		for i := range names {
			names[i] = namespaceName(o, names[i])
		}
	}
	return value
}

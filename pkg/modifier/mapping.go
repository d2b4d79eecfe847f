package modifier

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// actionKind is the value of the label that names what a ConfigMap is for.
const actionKind = "RestoreItemAction"

// labelled returns the ConfigMap that carries the label of an action; nil when
// there is none. Velero takes no more than one, either.
func labelled(cms []corev1.ConfigMap, label string) (*corev1.ConfigMap, error) {
	var found *corev1.ConfigMap
	var names []string
	for i := range cms {
		if _, ok := cms[i].Labels[velerov1.PluginConfigLabel]; ok && cms[i].Labels[label] == actionKind {
			found = &cms[i]
			names = append(names, fmt.Sprintf("%q", cms[i].Name))
		}
	}
	if len(names) > 1 {
		return nil, strictyaml.Invalid([]string{fmt.Sprintf("ConfigMaps %s have the label %s=%s; hint: take it from all but one", strings.Join(names, " and "), label, actionKind)})
	}
	return found, nil
}

// within walks down maps; nil when something on the way is none.
func within(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		m, _ = m[name].(map[string]any)
	}
	return m
}

// elements returns those elements of the list at a key that are maps.
func elements(m map[string]any, key string) []map[string]any {
	list, _ := m[key].([]any)
	var out []map[string]any
	for _, value := range list {
		if element, ok := value.(map[string]any); ok {
			out = append(out, element)
		}
	}
	return out
}

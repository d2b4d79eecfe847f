package cli

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// objectQuery is what a person asked for with [[NAMESPACE/]KIND[/NAME]]. Two
// words have two readings, NAMESPACE/KIND and KIND/NAME: an object that fits one
// of them is selected. The zero value selects everything.
type objectQuery struct {
	text     string
	readings []objectReading
}

// objectReading is one reading; what is empty is not asked about.
type objectReading struct {
	namespace, kind, name string
	// exactNamespace says that an empty namespace means a cluster-scoped object.
	exactNamespace bool
}

// parseQuery reads [[NAMESPACE/]KIND[/NAME]]. The empty text selects everything.
func parseQuery(text string) (objectQuery, error) {
	q := objectQuery{text: text}
	if text == "" {
		return q, nil
	}
	words := strings.Split(text, "/")
	for _, word := range words {
		if word == "" {
			return q, fmt.Errorf("%q is no [[NAMESPACE/]KIND[/NAME]]; hint: such as deployments, shop/deploy, or shop/deploy/web", text)
		}
	}
	switch len(words) {
	case 1:
		q.readings = []objectReading{{kind: words[0]}}
	case 2:
		q.readings = []objectReading{{kind: words[0], name: words[1]}, {namespace: words[0], kind: words[1]}}
	case 3:
		q.readings = []objectReading{{namespace: words[0], kind: words[1], name: words[2], exactNamespace: true}}
	default:
		return q, fmt.Errorf("%q has too many parts; hint: it is [[NAMESPACE/]KIND[/NAME]], such as shop/deploy/web", text)
	}
	return q, nil
}

// parseOne reads [NAMESPACE/]KIND/NAME, which names one object.
func parseOne(text string) (objectQuery, error) {
	words := strings.Split(text, "/")
	if len(words) < 2 {
		return objectQuery{}, fmt.Errorf("%q names no object; hint: it is [NAMESPACE/]KIND/NAME, such as shop/deploy/web or clusterrole/view", text)
	}
	q, err := parseQuery(text)
	if err == nil && len(words) == 2 {
		q.readings = []objectReading{{kind: words[0], name: words[1], exactNamespace: true}}
	}
	return q, err
}

// selects reports whether the object is asked for. kind may be empty where it
// isn't known.
func (q objectQuery) selects(resource schema.GroupResource, kind, namespace, name string) bool {
	if q.readings == nil {
		return true
	}
	for _, r := range q.readings {
		if r.mayHave(namespace, name) && isKind(r.kind, resource, kind) {
			return true
		}
	}
	return false
}

// mayHave reports whether an object of that name can be asked for, whatever its
// kind.
func (q objectQuery) mayHave(namespace, name string) bool {
	if q.readings == nil {
		return true
	}
	for _, r := range q.readings {
		if r.mayHave(namespace, name) {
			return true
		}
	}
	return false
}

func (r objectReading) mayHave(namespace, name string) bool {
	anyNamespace := r.namespace == "" && !r.exactNamespace
	return (anyNamespace || r.namespace == namespace) && (r.name == "" || r.name == name)
}

// mayBeIn reports whether the member can hold objects that are asked for.
func (q objectQuery) mayBeIn(m archive.Member) bool {
	if q.readings == nil {
		return true
	}
	for _, r := range q.readings {
		if r.inRange(m.First, m.Last) && isKind(r.kind, schema.ParseGroupResource(m.Resource), "") {
			return true
		}
	}
	return false
}

// inRange reports whether names between first and last can be asked for.
func (r objectReading) inRange(first, last string) bool {
	switch {
	case r.name != "" && r.namespace != "":
		key := r.namespace + "/" + r.name
		return first <= key && key <= last
	case r.name != "" && r.exactNamespace:
		return first <= r.name && r.name <= last
	case r.namespace != "":
		// "0" follows "/".
		return first < r.namespace+"0" && last >= r.namespace+"/"
	}
	return true
}

// isKind reports whether word, a plural, singular or short name with or without
// a group, means the resource. kind is what its objects say they are; empty
// where that isn't known.
func isKind(word string, resource schema.GroupResource, kind string) bool {
	word = strings.ToLower(word)
	if long, ok := shortNames[word]; ok {
		return long == resource.String()
	}
	name, group, grouped := strings.Cut(word, ".")
	if grouped && group != resource.Group {
		return false
	}
	if name == resource.Resource || kind != "" && name == strings.ToLower(kind) {
		return true
	}
	// The kind may not be known yet; its plural is regular nearly always.
	plural, _ := meta.UnsafeGuessKindToResource(schema.GroupVersionKind{Kind: name})
	return plural.Resource == resource.Resource || name+"s" == resource.Resource
}

// shortNames are those of Kubernetes' own kinds, as `kubectl api-resources`
// shows them (https://kubernetes.io/docs/reference/kubectl/#resource-types) and
// their storage declares them. In an archive there is no discovery to ask.
var shortNames = map[string]string{
	"cm": "configmaps", "ep": "endpoints", "ev": "events", "limits": "limitranges",
	"ns": "namespaces", "no": "nodes", "pvc": "persistentvolumeclaims", "pv": "persistentvolumes",
	"po": "pods", "rc": "replicationcontrollers", "quota": "resourcequotas", "sa": "serviceaccounts", "svc": "services",
	"crd": "customresourcedefinitions.apiextensions.k8s.io", "crds": "customresourcedefinitions.apiextensions.k8s.io",
	"ds": "daemonsets.apps", "deploy": "deployments.apps", "rs": "replicasets.apps", "sts": "statefulsets.apps",
	"hpa": "horizontalpodautoscalers.autoscaling", "cj": "cronjobs.batch",
	"csr": "certificatesigningrequests.certificates.k8s.io",
	"ing": "ingresses.networking.k8s.io", "netpol": "networkpolicies.networking.k8s.io",
	"pdb": "poddisruptionbudgets.policy", "pc": "priorityclasses.scheduling.k8s.io",
	"sc": "storageclasses.storage.k8s.io", "vac": "volumeattributesclasses.storage.k8s.io",
	"vs":  "volumesnapshots.snapshot.storage.k8s.io",
	"vsc": "volumesnapshotcontents.snapshot.storage.k8s.io", "vsclass": "volumesnapshotclasses.snapshot.storage.k8s.io",
}

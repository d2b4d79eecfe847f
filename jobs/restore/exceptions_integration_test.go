//go:build integration

package restore_test

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// notRestored are the objects of the fixture that don't come back, with the
// reason.
var notRestored = map[string]string{
	"configmaps/kube-root-ca.crt":                        "every cluster publishes its own",
	"configmaps/skip-me":                                 "excluded from the backup by its label",
	"jobs.batch/migrate":                                 "the Job has completed",
	"pods/migrate-qjwxv":                                 "the pod has ended",
	"endpoints/db":                                       "computed by the cluster",
	"endpoints/lb":                                       "computed by the cluster",
	"endpoints/web":                                      "computed by the cluster",
	"endpoints/web-nodeport":                             "computed by the cluster",
	"endpointslices.discovery.k8s.io/db-rlsp6":           "computed by the cluster",
	"endpointslices.discovery.k8s.io/lb-n8kq6":           "computed by the cluster",
	"endpointslices.discovery.k8s.io/web-gmttq":          "computed by the cluster",
	"endpointslices.discovery.k8s.io/web-nodeport-cxqzm": "computed by the cluster",

	"customresourcedefinitions.apiextensions.k8s.io/regions.shop.example.com": "no object of its kind is in the namespace, so it isn't in the backup",
	"regions.shop.example.com/eu-west":                                        "not in the backup of a namespace",
	"priorityclasses.scheduling.k8s.io/shop-high":                             "no pod has it, so it isn't in the backup",
	"storageclasses.storage.k8s.io/manual":                                    "not in the backup of a namespace",
	"validatingwebhookconfigurations.admissionregistration.k8s.io/shop-check": "not in the backup of a namespace",
}

// exception is a field in which two lives of an object may differ.
type exception struct {
	reason string
	kinds  []string // none means every kind
	// fields are paths; "*" is every element of a list.
	fields [][]string
	// keep are values that must be the same all the same.
	keep []any
	// when says which objects of the kinds; nil means all.
	when func(object map[string]any) bool
}

// exceptions are all of them.
var exceptions = []exception{
	{reason: "the API server gives them to each object anew", fields: [][]string{
		{"metadata", "uid"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "creationTimestamp"}, {"metadata", "managedFields"},
	}},
	{reason: "it says what is; controllers write it anew", fields: [][]string{{"status"}}},
	{reason: "owners have new UIDs; controllers adopt what they find", fields: [][]string{{"metadata", "ownerReferences"}}},
	{reason: "an object comes back under the name that was generated", fields: [][]string{{"metadata", "generateName"}}},
	{reason: "they say which restore made the object", fields: [][]string{
		{"metadata", "labels", velerov1.BackupNameLabel}, {"metadata", "labels", velerov1.RestoreNameLabel},
	}},
	{reason: "the volume controller binds anew and notes how", kinds: []string{"PersistentVolume", "PersistentVolumeClaim"}, fields: [][]string{
		{"metadata", "annotations", "pv.kubernetes.io/bind-completed"}, {"metadata", "annotations", "pv.kubernetes.io/bound-by-controller"},
		{"spec", "claimRef", "uid"}, {"spec", "claimRef", "resourceVersion"},
	}},
	{reason: "tokens are issued anew", kinds: []string{"Secret"}, when: isServiceAccountToken, fields: [][]string{
		{"data", "token"}, {"data", "ca.crt"}, {"metadata", "annotations", "kubernetes.io/service-account.uid"},
	}},
	{reason: "addresses are given anew", kinds: []string{"Service"}, keep: []any{"None"}, fields: [][]string{
		{"spec", "clusterIP"}, {"spec", "clusterIPs", "*"}, {"spec", "healthCheckNodePort"},
	}},
	{reason: "node ports that nobody asked for are given anew", kinds: []string{"Service"}, keep: []any{int64(31234)}, fields: [][]string{
		{"spec", "ports", "*", "nodePort"},
	}},
	{reason: "the scheduler chooses anew", kinds: []string{"Pod"}, fields: [][]string{{"spec", "nodeName"}}},
	{reason: "the LimitRange was younger than the pods and is now older", kinds: []string{"Pod"}, fields: [][]string{
		{"metadata", "annotations", "kubernetes.io/limit-ranger"}, {"spec", "containers", "*", "resources"},
	}},
}

func isServiceAccountToken(object map[string]any) bool {
	return object["type"] == "kubernetes.io/service-account-token"
}

// exceptFor takes the exceptions out of an object.
func exceptFor(list []exception, u *unstructured.Unstructured) map[string]any {
	for _, e := range list {
		if len(e.kinds) > 0 && !slices.Contains(e.kinds, u.GetKind()) || e.when != nil && !e.when(u.Object) {
			continue
		}
		for _, field := range e.fields {
			edit(u.Object, field, func(value any) (any, bool) { return value, slices.Contains(e.keep, value) })
		}
	}
	for _, field := range []string{"labels", "annotations"} { // one that is empty now is none
		if m, _, _ := unstructured.NestedMap(u.Object, "metadata", field); len(m) == 0 {
			unstructured.RemoveNestedField(u.Object, "metadata", field)
		}
	}
	return u.Object
}

// follows are the fields that name a namespace and follow it.
var follows = [][]string{
	{"metadata", "namespace"},
	{"metadata", "labels", "kubernetes.io/metadata.name"},
	{"subjects", "*", "namespace"},
	{"spec", "claimRef", "namespace"},
	{"webhooks", "*", "clientConfig", "service", "namespace"},
}

// follow makes an object that was in the namespace from, or names it, one of to.
func follow(object map[string]any, from, to string) {
	fields := follows
	if object["kind"] == "Namespace" {
		fields = append(slices.Clone(fields), []string{"metadata", "name"})
	}
	for _, field := range fields {
		edit(object, field, func(value any) (any, bool) {
			if value == from {
				value = to
			}
			return value, true
		})
	}
}

// edit replaces the value at a path, or deletes it unless it is kept. An element
// of a list that isn't kept becomes nil.
func edit(at any, path []string, change func(value any) (any, bool)) {
	switch at := at.(type) {
	case map[string]any:
		value, ok := at[path[0]]
		if !ok {
			return
		}
		if len(path) > 1 {
			edit(value, path[1:], change)
			return
		}
		if value, keep := change(value); keep {
			at[path[0]] = value
		} else {
			delete(at, path[0])
		}
	case []any:
		for i, value := range at {
			if len(path) > 1 {
				edit(value, path[1:], change)
				continue
			}
			value, keep := change(value)
			if !keep {
				value = nil
			}
			at[i] = value
		}
	}
}

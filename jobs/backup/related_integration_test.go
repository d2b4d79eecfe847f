//go:build integration

package backup_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// What a label selects brings along what it can't do without, although the
// label isn't on that.
func TestRelatedObjectsComeAlong(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.manifests(`# serviceaccounts
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: APP, labels: {take: account}}}
---
# serviceaccounts
{apiVersion: v1, kind: ServiceAccount, metadata: {name: other, namespace: APP}}
---
# priorityclasses
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: APP-high}, value: 7}
---
# clusterroles
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: APP-used}, rules: []}
---
# clusterrolebindings
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-one}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-used}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: default}, {kind: ServiceAccount, name: default, namespace: APP}]}
---
# clusterrolebindings
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-elsewhere}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-used}, subjects: [{kind: ServiceAccount, name: default, namespace: elsewhere}]}
---
# clusterrolebindings
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: APP-user}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: APP-used}, subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: default}]}
---
# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
# widgets
{apiVersion: APP.example.com/v1, kind: Widget, metadata: {name: gear, namespace: APP, labels: {take: widget}}}
---
# pods
{apiVersion: v1, kind: Pod, metadata: {name: high, namespace: APP, labels: {take: high}}, spec: {priorityClassName: APP-high, containers: [{name: c, image: x}]}}
`)
	f.volume("data")
	f.volume("more")
	f.pod("running", "data", "more")
	f.pod("waiting", "more")
	f.patchStatus(podsV1, f.app, "running", `{"phase":"Running"}`)
	f.labelled("persistentvolumeclaims", "data", "claim")
	claim := "persistentvolumeclaims=APP/data persistentvolumes=/APP-data "
	for _, c := range []struct{ name, key, value, want string }{
		{"pod", "pod", "running", "pods=APP/running persistentvolumeclaims=APP/more persistentvolumes=/APP-more " + claim},
		{"claim", "take", "claim", claim + "pods=APP/running persistentvolumeclaims=APP/more persistentvolumes=/APP-more "},
		{"priority", "take", "high", "pods=APP/high priorityclasses.scheduling.k8s.io=/APP-high "},
		{"account", "take", "account", "serviceaccounts=APP/default clusterrolebindings.rbac.authorization.k8s.io=/APP-one clusterroles.rbac.authorization.k8s.io=/APP-used "},
		{"widget", "take", "widget", "widgets.APP.example.com=APP/gear customresourcedefinitions.apiextensions.k8s.io=/widgets.APP.example.com "},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := f.in(t)
			f.backUp(c.name, report.Completed, velerov1.BackupSpec{
				IncludedNamespaces: []string{f.app}, SnapshotVolumes: new(bool), LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{c.key: c.value}},
			})
			f.expect(c.name, nsApp+c.want)
		})
	}
}

// Namespaced related objects have to pass the filters; cluster-scoped ones only
// must not be excluded.
func TestRelatedObjectsPassTheFilters(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	f.volume("data")
	f.pod("web", "data")
	const pod, claim, volume = "pods=APP/web ", "persistentvolumeclaims=APP/data ", "persistentvolumes=/APP-data "
	for _, c := range []struct {
		name string
		spec velerov1.BackupSpec
		want string
	}{
		{"older-pods", velerov1.BackupSpec{IncludedResources: []string{"pods"}}, pod},
		{"older-claims", velerov1.BackupSpec{IncludedResources: []string{"pods", "pvc"}}, pod + claim},
		{"older-volumes", velerov1.BackupSpec{IncludedResources: []string{"pods", "pvc", "pv"}}, pod + claim + volume},
		{"older-excluded", velerov1.BackupSpec{ExcludedResources: []string{"pvc", "sa"}}, nsApp + pod},
		{"newer", velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"pods", "pvc"}}, nsApp + pod + claim + volume},
		{"newer-pods", velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"pods"}}, nsApp + pod},
		{"newer-excluded", velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"pods", "pvc"}, ExcludedClusterScopedResources: []string{"pv"}}, nsApp + pod + claim},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := f.in(t)
			c.spec.IncludedNamespaces, c.spec.SnapshotVolumes = []string{f.app}, new(bool)
			f.backUp(c.name, report.Completed, c.spec)
			f.expect(c.name, c.want)
		})
	}
}

// Related objects are found without asking for each.
func TestRelatedObjectsCostNoRequestEach(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.account()
	count := func(name string) (requests int) {
		var paths perPath
		f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			paths.next(r)
			next.ServeHTTP(w, r)
		})
		f.backUp(name, report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}, IncludedResources: []string{"pods"}, SnapshotVolumes: new(bool)})
		for path, n := range paths.count {
			if strings.Contains(path, "persistentvolume") {
				requests += n
			}
		}
		return requests
	}
	f.volume("a")
	f.pod("a", "a")
	few := count("few")
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"} {
		f.volume(name)
		f.pod(name, name)
	}
	if many := count("many"); many > few+2 {
		t.Errorf("%d requests for the claims and volumes of one pod, %d for those of 13", few, many)
	}
}

// withExtensions makes the API server look like an old one, which serves
// deployments in the group extensions too; apps says whether also in apps.
func withExtensions(apps bool) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch r.URL.Path {
		case "/api", "/apis", "/apis/apps/v1":
			r.Header.Set("Accept", "application/json") // discovery as old servers have it
			r.Header.Del("Accept-Encoding")
			recorder := httptest.NewRecorder()
			next.ServeHTTP(recorder, r)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(extended(r.URL.Path, recorder.Body.Bytes(), apps))
		case "/apis/extensions/v1beta1":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"extensions/v1beta1","resources":[{"name":"deployments","singularName":"deployment","namespaced":true,"kind":"Deployment","verbs":["create","delete","get","list"]}]}`)
		default:
			if rest, ok := strings.CutPrefix(r.URL.Path, "/apis/extensions/v1beta1/"); ok {
				w.Header().Set("Content-Type", "application/json")
				namespace := strings.TrimSuffix(strings.TrimPrefix(rest, "namespaces/"), "/deployments")
				_, _ = io.WriteString(w, `{"kind":"DeploymentList","apiVersion":"extensions/v1beta1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"old","namespace":"`+namespace+`","uid":"u"}}]}`)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
}

// extended edits a discovery document.
func extended(path string, body []byte, apps bool) []byte {
	var document map[string]any
	if err := json.Unmarshal(body, &document); err != nil {
		return body
	}
	switch version := map[string]any{"groupVersion": "extensions/v1beta1", "version": "v1beta1"}; {
	case path == "/apis":
		groups, _ := document["groups"].([]any)
		document["groups"] = append([]any{map[string]any{"name": "extensions", "versions": []any{version}, "preferredVersion": version}}, groups...)
	case path == "/apis/apps/v1" && !apps:
		resources, _ := document["resources"].([]any)
		var kept []any
		for _, resource := range resources {
			if name, _ := resource.(map[string]any)["name"].(string); name != "deployments" {
				kept = append(kept, resource)
			}
		}
		document["resources"] = kept
	}
	edited, err := json.Marshal(document)
	if err != nil {
		return body
	}
	return edited
}

func TestF07CohabitingKindsAreStoredOnce(t *testing.T) {
	f := newFixture(t)
	f.manifests(`# deployments
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: APP}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}}}}
---
# events
{apiVersion: v1, kind: Event, metadata: {name: happened, namespace: APP}, involvedObject: {kind: Pod, namespace: APP, name: x}}
---
# customresourcedefinitions
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: deployments.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: deployments, singular: deployment, kind: Deployment}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---
# deployments
{apiVersion: APP.example.com/v1, kind: Deployment, metadata: {name: theirs, namespace: APP}}
`)
	common := "namespaces=/APP events=APP/happened deployments.APP.example.com=APP/theirs customresourcedefinitions.apiextensions.k8s.io=/deployments.APP.example.com "
	spec := velerov1.BackupSpec{IncludedNamespaces: []string{f.app}}
	f.clusterThrough(withExtensions(true))
	f.backUp("both", report.Completed, spec)
	f.expect("both", common+"deployments.apps=APP/web")
	if state, reason, _ := f.kind("both", "deployments.extensions"); state != "notListable" {
		t.Errorf("coverage of the cohabitant: %s, %s", state, reason)
	}
	f.clusterThrough(withExtensions(false))
	f.backUp("extensions", report.Completed, spec)
	f.expect("extensions", common+"deployments.extensions=APP/old")
}

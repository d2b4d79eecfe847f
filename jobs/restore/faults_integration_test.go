//go:build integration

package restore_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// through makes the restore's own requests, not those about its record, go
// through a proxy that asks fault about each. The answer to one that isn't
// faulted is the API server's.
func (w *world) through(fault func(r *http.Request) fault) func(*restore.Config) {
	return func(c *restore.Config) {
		transport, err := rest.TransportFor(c.REST)
		w.must(err)
		target, err := url.Parse(c.REST.Host)
		w.must(err)
		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.Transport = transport
		server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
			f := fault(in)
			switch f {
			case busy:
				out.Header().Set("Retry-After", "1")
				http.Error(out, "busy", http.StatusTooManyRequests)
			case forbidden:
				http.Error(out, "you may not", http.StatusForbidden)
			case broken:
				http.Error(out, "broken", http.StatusInternalServerError)
			case lost:
				proxy.ServeHTTP(httptest.NewRecorder(), in)
				panic(http.ErrAbortHandler) // closes the connection without an answer
			case cut:
				panic(http.ErrAbortHandler)
			default:
				proxy.ServeHTTP(out, in)
			}
		}))
		w.t.Cleanup(server.Close)
		c.REST = &rest.Config{Host: server.URL, UserAgent: c.REST.UserAgent}
	}
}

// fault is what goes wrong with a request.
type fault int

const (
	fine      fault = iota
	busy            // 429, nothing done
	forbidden       // 403, nothing done
	broken          // 500, nothing done
	cut             // the connection breaks before anything is done
	lost            // it is done, and the answer gets lost
)

// A network that loses one request in five, before or after it was carried out,
// changes nothing about the end.
func TestRestoreOverABadNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const objects = 60
	manifests := []string{
		strings.ReplaceAll(gears, "APP", w.app),
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: APP}}`,
		`{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: APP}, spec: {serviceAccountName: web, containers: [{name: c, image: x}]}}`,
		`{apiVersion: APP.example.com/v1, kind: Gear, metadata: {name: g, namespace: APP}}`,
	}
	for n := range objects {
		manifests = append(manifests, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: APP, managedFields: [{apiVersion: v1, fieldsType: FieldsV1, manager: gitops, operation: Apply, time: "2026-01-02T03:04:05Z", fieldsV1: {"f:data": {"f:a": {}}}}]}, data: {a: b}}`, n))
	}
	w.putBackup("b", w.in(manifests...)...)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(7, 7))
	w.addRestore("r", velerov1.RestoreSpec{BackupName: "b"})
	summary, _ := w.run("r", func(c *restore.Config) {
		c.RetryFor = 20 * time.Second
		w.through(func(r *http.Request) fault {
			if !strings.Contains(r.URL.Path, "/namespaces/") {
				return fine // discovery has its own tests
			}
			mu.Lock()
			defer mu.Unlock()
			if random.IntN(5) > 0 {
				return fine
			}
			return []fault{busy, broken, cut, lost}[random.IntN(4)]
		})(c)
	})
	if summary.Outcome != report.Completed || summary.Warnings != 0 {
		t.Fatalf("summary %+v, results %+v", summary, w.results("r"))
	}
	list, err := w.kube.CoreV1().ConfigMaps(w.app).List(t.Context(), metav1.ListOptions{})
	w.must(err)
	for _, item := range list.Items {
		if len(item.ManagedFields) != 1 || item.ManagedFields[0].Manager != "gitops" {
			t.Errorf("%s is managed by %v", item.Name, item.ManagedFields)
		}
	}
	if len(list.Items) != objects || w.get("pods", w.app, "p") == nil {
		t.Errorf("%d ConfigMaps are there, want %d", len(list.Items), objects)
	}
	for action := range w.actions("r") {
		if !strings.HasSuffix(action, "(created)") {
			t.Errorf("action %s", action)
		}
	}
}

// Objects that can be listed neither whole nor at all are looked at one by one.
func TestExistingObjectsThatCannotBeListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var live, archived []string
	for n := range 10 {
		manifest := fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: APP}, data: {a: b}}`, n)
		live = append(live, manifest)
		archived = append(archived, manifest)
	}
	archived[3] = strings.Replace(archived[3], "a: b", "a: archived", 1)
	w.live(live...)
	w.putBackup("b", w.in(archived...)...)
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, w.through(func(r *http.Request) fault {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/configmaps") {
			return broken
		}
		return fine
	}))
	if summary.Outcome != report.Completed || summary.Warnings != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.warnings("r"), "c3", "already exists")
}

// With many objects that exist, what they are is known from a list: the outcome
// is the same as one by one.
func TestManyExistingObjects(t *testing.T) {
	t.Parallel()
	const objects = 30
	for policy, want := range map[velerov1.PolicyType]struct {
		warnings int
		data     string
	}{
		velerov1.PolicyTypeNone:     {1, "live"},
		velerov1.PolicyTypeUpdate:   {0, "archived"},
		velerov1.PolicyTypeRecreate: {0, "archived"},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var live, archived []string
			for n := range objects {
				manifest := fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: APP, annotations: {note: x}}, data: {a: live, b: "<&>"}}`, n)
				if n > 0 {
					live = append(live, manifest)
				}
				if n == 1 {
					manifest = strings.Replace(manifest, "a: live", "a: archived", 1)
				}
				archived = append(archived, manifest)
			}
			w.live(live...)
			before := map[string]types.UID{}
			list, err := w.kube.CoreV1().ConfigMaps(w.app).List(t.Context(), metav1.ListOptions{})
			w.must(err)
			for _, item := range list.Items {
				before[item.Name] = item.UID
			}
			summary := w.restored(velerov1.RestoreSpec{ExistingResourcePolicy: policy}, archived...)
			if summary.Outcome != report.Completed || summary.Warnings != want.warnings {
				t.Errorf("summary %+v, results %+v", summary, w.results("r"))
			}
			if data, _, _ := unstructured.NestedString(w.get("configmaps", w.app, "c1").Object, "data", "a"); data != want.data {
				t.Errorf("data of the one that differs: %q", data)
			}
			if w.get("configmaps", w.app, "c0") == nil {
				t.Error("the one that wasn't there was not restored")
			}
			// Of those that are equal nobody writes more than the labels.
			for n := 2; n < objects; n++ {
				one := w.get("configmaps", w.app, fmt.Sprintf("c%d", n))
				if got := one.GetLabels()[velerov1.RestoreNameLabel]; (got == "r") != (policy != velerov1.PolicyTypeNone) || one.GetUID() != before[one.GetName()] {
					t.Errorf("%s has restore-name %q, its UID was %s and is %s", one.GetName(), got, before[one.GetName()], one.GetUID())
				}
			}
		})
	}
}

// An object on its way out makes room or is told; what waits for it isn't lost.
func TestObjectOnItsWayOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	held := func(name string) string {
		return `{apiVersion: v1, kind: ConfigMap, metadata: {name: ` + name + `, namespace: APP, finalizers: [example.com/hold]}, data: {a: live}}`
	}
	w.live(held("stuck"), held("leaving"))
	for _, name := range []string{"stuck", "leaving"} {
		w.must(w.kube.CoreV1().ConfigMaps(w.app).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	archived := func(name string) string {
		return `{apiVersion: v1, kind: ConfigMap, metadata: {name: ` + name + `, namespace: APP}, data: {a: archived}}`
	}
	w.putBackup("b", w.in(archived("stuck"), archived("leaving"))...)
	var refused sync.Once
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, w.through(func(r *http.Request) fault {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/configmaps") {
			refused.Do(func() { // the first write finds both still there; then one goes
				_, err := w.kube.CoreV1().ConfigMaps(w.app).Patch(w.t.Context(), "leaving", "application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
				if err != nil {
					w.t.Error(err)
				}
			})
		}
		return fine
	}))
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v, results %+v", summary, w.results("r"))
	}
	w.said(w.errors("r"), "stuck", "being deleted")
	data, _, _ := unstructured.NestedString(w.get("configmaps", w.app, "leaving").Object, "data", "a")
	if diff := cmp.Diff("archived", data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

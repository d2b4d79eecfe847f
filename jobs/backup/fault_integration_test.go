//go:build integration

package backup_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// manyObjects is more than two pages.
const manyObjects = 1200

// expectMany checks that the archive has all of the ConfigMaps of many, each
// once: the audit has seen that none is there twice.
func (f *fixture) expectMany(name string, n int) {
	f.t.Helper()
	got := 0
	for _, item := range f.items(name) {
		if strings.HasPrefix(item, "configmaps "+f.app+"/many-") {
			got++
		}
	}
	if got != n {
		f.t.Errorf("the archive has %d of %d ConfigMaps", got, n)
	}
}

func TestTooManyRequestsAreWaitedOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	var paths perPath
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isList(r) && strings.Contains(r.URL.Path, "maps") && paths.next(r) <= 3 {
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "TooManyRequests", "too many requests, please try again later")
			return
		}
		next.ServeHTTP(w, r)
	})
	begin := time.Now()
	f.backUp("busy", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("busy", manyObjects)
	if took := time.Since(begin); took < 3*time.Second {
		t.Errorf("three times told to wait a second, it took %s", took)
	}
}

func TestUnavailableIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	var paths perPath
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isList(r) && strings.HasPrefix(r.URL.Path, "/api/v1/") && paths.next(r)%2 == 1 {
			refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", "the server is currently unable to handle the request")
			return
		}
		next.ServeHTTP(w, r)
	})
	f.backUp("shaky", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("shaky", manyObjects)
}

func TestAKindThatStaysUnavailableIsAnError(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", nil)
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isList(r) && strings.HasSuffix(r.URL.Path, "/secrets") {
			refuse(w, http.StatusInternalServerError, "InternalError", "decrypt: the key server is gone")
			return
		}
		next.ServeHTTP(w, r)
	})
	f.backUp("one", report.PartiallyFailed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	_, errors := f.results("one")
	if !strings.Contains(strings.Join(errors, ""), "the key server is gone") {
		t.Errorf("errors %q", errors)
	}
	if state, reason, _ := f.kind("one", "secrets"); state != "failed" || !strings.Contains(reason, "the key server is gone") {
		t.Errorf("coverage: %s, %q", state, reason)
	}
	if !slices.Contains(f.items("one"), "configmaps "+f.app+"/kept") {
		t.Error("the rest isn't stored")
	}
}

// expired answers as an API server whose etcd has compacted the revision that a
// continue token names, with the token that goes on at a newer one.
func expired(w http.ResponseWriter, token string) {
	decoded, _ := base64.RawURLEncoding.DecodeString(token) // the server's own
	var place map[string]any
	_ = json.Unmarshal(decoded, &place)
	place["rv"] = -1
	inconsistent, _ := json.Marshal(place)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusGone)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"status":"Failure","message":"The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.","reason":"Expired","code":410}`,
		base64.RawURLEncoding.EncodeToString(inconsistent))
}

func TestGoneInTheMiddleOfAListIsResumedAndSaid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	var gone atomic.Bool
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		token := r.URL.Query().Get("continue")
		if token != "" && strings.HasSuffix(r.URL.Path, "/configmaps") && gone.CompareAndSwap(false, true) {
			expired(w, token)
			return
		}
		next.ServeHTTP(w, r)
	})
	_, after := f.backUp("gone", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("gone", manyObjects)
	warnings, _ := f.results("gone")
	if !gone.Load() || after.Status.Warnings != 1 || !strings.Contains(strings.Join(warnings, ""), "configmaps") {
		t.Errorf("410 was given: %v, warnings %q", gone.Load(), warnings)
	}
}

func TestCutAnswersAreTakenAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var paths perPath
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isList(r) && strings.HasPrefix(r.URL.Path, "/api/v1/") {
			if n := paths.next(r); n <= 4 {
				paths.mu.Lock()
				at := random.IntN(150_000)
				paths.mu.Unlock()
				r.Header.Del("Accept-Encoding") // bytes of JSON, not of gzip
				next.ServeHTTP(&cutting{w, at}, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	f.backUp("cut", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("cut", manyObjects)
}

// Some servers say only that the token is too old: the list begins anew, and
// what was taken is not taken twice.
func TestGoneWithoutAWayOnIsResumedToo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	var gone atomic.Bool
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("continue") != "" && strings.HasSuffix(r.URL.Path, "/configmaps") && gone.CompareAndSwap(false, true) {
			refuse(w, http.StatusGone, "Expired", "The resourceVersion for the provided list is too old.")
			return
		}
		next.ServeHTTP(w, r)
	})
	f.backUp("gone", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("gone", manyObjects)
	if warnings, _ := f.results("gone"); !gone.Load() || !strings.Contains(strings.Join(warnings, ""), "configmaps") {
		t.Errorf("410 was given: %v, warnings %q", gone.Load(), warnings)
	}
}

// An API server that is away for some seconds, for lists and for the Backup's
// own record, costs time and nothing else.
func TestAnOutageOfTheAPIServerIsSurvived(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	var began atomic.Int64 // in Unix milliseconds
	f.clusterThrough(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if isList(r) && strings.HasSuffix(r.URL.Path, "/configmaps") {
			began.CompareAndSwap(0, time.Now().UnixMilli())
		}
		if at := began.Load(); at > 0 && time.Since(time.UnixMilli(at)) < 6*time.Second {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
	f.backUp("outage", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.expectMany("outage", manyObjects)
}

// until the discovery has, or hasn't, the group.
func (f *fixture) untilGroup(group string, there bool) {
	f.t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(f.config)
	if err != nil {
		f.t.Fatal(err)
	}
	f.until("group "+group+" comes or goes", func() error {
		groups, err := client.ServerGroups()
		if err != nil {
			return err
		}
		if found := slices.ContainsFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == group }); found != there {
			return fmt.Errorf("served: %v", found)
		}
		return nil
	})
}

func TestAnAggregatedAPIThatIsDownIsAnError(t *testing.T) {
	f := newFixture(t)
	f.configMap("kept", nil)
	f.apply(`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1beta1.nowhere.example.com}, spec: {group: nowhere.example.com, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {namespace: nowhere, name: nowhere}}}`, "apiservices")
	t.Cleanup(func() {
		services := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
		_ = f.dynamic.Resource(services).Delete(context.Background(), "v1beta1.nowhere.example.com", metav1.DeleteOptions{}) // a failure shows next
		f.untilGroup("nowhere.example.com", false)                                                                           // for the tests that follow
	})
	f.untilGroup("nowhere.example.com", true)
	f.backUp("one", report.PartiallyFailed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	_, errors := f.results("one")
	if len(errors) != 1 || !strings.Contains(errors[0], "nowhere.example.com/v1beta1") {
		t.Errorf("errors %q", errors)
	}
	if !slices.Contains(f.items("one"), "configmaps "+f.app+"/kept") {
		t.Error("the rest isn't stored")
	}
}

const unconvertible = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: papers.APP.example.com}
spec:
  group: APP.example.com
  scope: Namespaced
  names: {plural: papers, singular: paper, kind: Paper}
  conversion: {strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {url: "https://127.0.0.1:9/convert"}}}
  versions:
  - {name: v1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

func TestACustomResourceThatCannotBeConvertedIsAnError(t *testing.T) {
	f := newFixture(t)
	f.configMap("kept", nil)
	f.apply(strings.ReplaceAll(unconvertible, "APP", f.app), "customresourcedefinitions")
	t.Cleanup(func() {
		definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
		patch := []byte(`{"spec":{"conversion":{"strategy":"None","webhook":null}}}`) // else it can't be deleted
		_, _ = f.dynamic.Resource(definitions).Patch(context.Background(), "papers."+f.app+".example.com", types.MergePatchType, patch, metav1.PatchOptions{})
		_ = f.dynamic.Resource(definitions).Delete(context.Background(), "papers."+f.app+".example.com", metav1.DeleteOptions{})
	})
	f.manifests("# papers\n{apiVersion: APP.example.com/v1beta1, kind: Paper, metadata: {name: sheet, namespace: APP}}")
	f.backUp("one", report.PartiallyFailed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	_, errors := f.results("one")
	if len(errors) != 1 || !strings.Contains(errors[0], "conversion webhook") || !strings.Contains(errors[0], "papers."+f.app+".example.com") {
		t.Errorf("errors %q", errors)
	}
	if state, _, _ := f.kind("one", "papers."+f.app+".example.com"); state != "failed" {
		t.Errorf("coverage: %s", state)
	}
	if !slices.Contains(f.items("one"), "configmaps "+f.app+"/kept") {
		t.Error("the rest isn't stored")
	}
}

// ballast is makeBallast until the test ends.
func (f *fixture) ballast(n int) {
	f.t.Helper()
	f.emptied(secrets)
	f.makeBallast(n)
}

// makeBallast makes Secrets of half a MiB that don't compress; each is twice in the
// archive.
func (f *fixture) makeBallast(n int) {
	f.t.Helper()
	parallel(f.t, n, func(i int) error {
		body := make([]byte, 512<<10)
		random := rand.New(rand.NewPCG(uint64(i), 1))
		for at := range body {
			body[at] = byte(random.Uint32())
		}
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("ballast-%03d", i), Namespace: f.app}, Data: map[string][]byte{"x": body}}
		_, err := f.dynamic.Resource(secrets).Namespace(f.app).
			Create(f.t.Context(), toUnstructured(f.t, secret, "v1", "Secret"), metav1.CreateOptions{})
		return err
	})
}

// Package apitest is an API server in memory for the unit tests of jobs: enough
// of the Kubernetes API for the typed and the dynamic clients (get, list with
// selectors, create, merge patch, delete), with the preconditions on UID and
// resourceVersion that the jobs rely on, and with faults on demand. What an API
// server does besides, integration tests show on a real one.
package apitest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
)

// Server is the API server. It is safe for concurrent use.
type Server struct {
	// Config leads to it.
	Config *rest.Config

	tb      testing.TB
	mu      sync.Mutex
	version int
	objects map[string]*unstructured.Unstructured
	writes  []string
	fault   func(method, path string) int
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	s := &Server{tb: tb, objects: map[string]*unstructured.Unstructured{}}
	server := httptest.NewServer(s)
	tb.Cleanup(server.Close)
	s.Config = &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	return s
}

// Clients are the three kinds of clients of the server.
func (s *Server) Clients() (*client.Client, kubernetes.Interface, dynamic.Interface) {
	s.tb.Helper()
	velero, err := client.New(s.Config)
	if err != nil {
		s.tb.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		s.tb.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(s.Config)
	if err != nil {
		s.tb.Fatal(err)
	}
	return velero, kube, dyn
}

// Add puts obj below the collection's path, such as
// "/apis/velero.io/v1/namespaces/velero/backups".
func (s *Server) Add(collection string, obj runtime.Object) {
	s.tb.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" {
		u.SetKind(kindOf(path.Base(collection)))
	}
	if parts := strings.Split(collection, "/"); len(parts) > 3 && parts[len(parts)-3] == "namespaces" {
		u.SetNamespace(parts[len(parts)-2])
	}
	s.put(path.Join(collection, u.GetName()), u)
}

// Get returns the object at the path, nil without one.
func (s *Server) Get(objectPath string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.objects[objectPath]; u != nil {
		return u.DeepCopy()
	}
	return nil
}

// List returns the objects of a collection, by name.
func (s *Server) List(collection string) []unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list(collection, labels.Everything(), fields.Everything())
}

// Writes returns "METHOD PATH" of every write that succeeded, in order, those of
// Events left out.
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

// Fault sets what decides about a request before it is served: an HTTP status
// that refuses it, or 0.
func (s *Server) Fault(fault func(method, path string) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *Server) put(objectPath string, u *unstructured.Unstructured) {
	s.version++
	u.SetResourceVersion(strconv.Itoa(s.version))
	if u.GetUID() == "" {
		u.SetUID(types.UID("uid-of-" + u.GetName()))
	}
	s.objects[objectPath] = u
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.tb.Errorf("read request: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	status := 0
	if s.fault != nil {
		status = s.fault(r.Method, r.URL.Path)
	}
	var answer any
	if status == 0 {
		status, answer = s.serve(r, body)
	}
	if status >= http.StatusBadRequest {
		answer = failure(status, r.Method, r.URL.Path)
	} else if r.Method != http.MethodGet && path.Base(r.URL.Path) != "events" {
		s.writes = append(s.writes, r.Method+" "+r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.tb.Errorf("write answer: %v", err)
	}
}

func (s *Server) serve(r *http.Request, body []byte) (int, any) {
	if kindOf(path.Base(r.URL.Path)) != "" {
		return s.serveCollection(r, body)
	}
	u := s.objects[r.URL.Path]
	if u == nil {
		return http.StatusNotFound, nil
	}
	switch r.Method {
	case http.MethodGet:
		return http.StatusOK, u
	case http.MethodPatch:
		return s.patch(r.URL.Path, u, body)
	case http.MethodDelete:
		return s.remove(r.URL.Path, u, body)
	}
	return http.StatusMethodNotAllowed, nil
}

func (s *Server) serveCollection(r *http.Request, body []byte) (int, any) {
	switch r.Method {
	case http.MethodGet:
		byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
		if err != nil {
			return http.StatusBadRequest, nil
		}
		byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
		if err != nil {
			return http.StatusBadRequest, nil
		}
		return http.StatusOK, map[string]any{
			"kind": kindOf(path.Base(r.URL.Path)) + "List", "apiVersion": apiVersion(r.URL.Path),
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.version)},
			"items":    s.list(r.URL.Path, byLabel, byField),
		}
	case http.MethodPost:
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(body, &u.Object); err != nil {
			return http.StatusBadRequest, nil
		}
		if u.GetName() == "" {
			u.SetName(fmt.Sprintf("%s%d", u.GetGenerateName(), s.version))
		}
		objectPath := path.Join(r.URL.Path, u.GetName())
		if s.objects[objectPath] != nil {
			return http.StatusConflict, nil
		}
		s.put(objectPath, u)
		return http.StatusCreated, u
	}
	return http.StatusMethodNotAllowed, nil
}

// list finds the objects of a collection; that of a namespaced kind without a
// namespace holds those of all.
func (s *Server) list(collection string, byLabel labels.Selector, byField fields.Selector) []unstructured.Unstructured {
	items := []unstructured.Unstructured{}
	for _, objectPath := range slices.Sorted(maps.Keys(s.objects)) {
		u := s.objects[objectPath]
		everywhere := path.Join(strings.Split(path.Dir(objectPath), "/namespaces/")[0], path.Base(path.Dir(objectPath)))
		if path.Dir(objectPath) != collection && everywhere != collection {
			continue
		}
		uid, _, _ := unstructured.NestedString(u.Object, "involvedObject", "uid")
		if byLabel.Matches(labels.Set(u.GetLabels())) && byField.Matches(fields.Set{"involvedObject.uid": uid}) {
			items = append(items, *u.DeepCopy())
		}
	}
	return items
}

func (s *Server) patch(objectPath string, u *unstructured.Unstructured, body []byte) (int, any) {
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil {
		return http.StatusBadRequest, nil
	}
	asked := &unstructured.Unstructured{Object: patch}
	if asked.GetUID() != "" && asked.GetUID() != u.GetUID() ||
		asked.GetResourceVersion() != "" && asked.GetResourceVersion() != u.GetResourceVersion() {
		return http.StatusConflict, nil
	}
	patched := u.DeepCopy()
	patched.Object = merge(patched.Object, patch)
	if patched.GetDeletionTimestamp() != nil && len(patched.GetFinalizers()) == 0 {
		delete(s.objects, objectPath)
	} else {
		s.put(objectPath, patched)
	}
	return http.StatusOK, patched
}

// merge applies a JSON merge patch (RFC 7386).
func merge(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for key, value := range patch {
		nested, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isObject:
			before, _ := target[key].(map[string]any)
			target[key] = merge(before, nested)
		default:
			target[key] = value
		}
	}
	return target
}

func (s *Server) remove(objectPath string, u *unstructured.Unstructured, body []byte) (int, any) {
	var options struct {
		Preconditions struct{ UID, ResourceVersion string }
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &options); err != nil {
			return http.StatusBadRequest, nil
		}
	}
	want := options.Preconditions
	if want.UID != "" && want.UID != string(u.GetUID()) || want.ResourceVersion != "" && want.ResourceVersion != u.GetResourceVersion() {
		return http.StatusConflict, nil
	}
	if len(u.GetFinalizers()) > 0 {
		gone := u.DeepCopy()
		gone.Object = merge(gone.Object, map[string]any{"metadata": map[string]any{"deletionTimestamp": "2026-01-02T03:04:05Z"}})
		s.put(objectPath, gone)
		return http.StatusOK, gone
	}
	delete(s.objects, objectPath)
	return http.StatusOK, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"}
}

package record_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/record"
)

// apiServer is the part of an API server that a record talks to: one Backup,
// with the checks that writes are bound to.
type apiServer struct {
	mu        sync.Mutex
	phase     string
	progress  map[string]any // of the Backup's status
	version   int
	conflicts int // patches refused before one is taken
	patches   []map[string]any
	events    []map[string]any
}

const uid = "7c0ffee0"

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch r.Method {
	case http.MethodPost:
		s.events = append(s.events, body)
	case http.MethodPatch:
		metadata, _ := body["metadata"].(map[string]any)
		if metadata["uid"] != uid || s.conflicts > 0 {
			s.conflicts--
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Conflict","code":409}`)
			return
		}
		s.version++
		s.patches = append(s.patches, body)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": "velero.io/v1", "kind": "Backup",
		"metadata": map[string]any{"name": "shop", "namespace": "velero", "uid": uid, "resourceVersion": "1"},
		"status":   map[string]any{"phase": s.phase, "progress": s.progress},
	})
}

func open(t *testing.T, s *apiServer, objectUID types.UID) *record.Record {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := dynamic.NewForConfig(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	backup := &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "velero", UID: objectUID}}
	return record.Open(client, velerov1.SchemeGroupVersion.WithResource("backups"), "Backup", backup, slog.New(slog.DiscardHandler))
}

func TestFinishWritesOneEnd(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress", conflicts: 2}
	r := open(t, s, uid)
	err := r.Finish(t.Context(), "Completed", map[string]any{"warnings": 1}, map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.patches) != 1 {
		t.Fatalf("%d patches were taken, want one after two conflicts", len(s.patches))
	}
	status, _ := s.patches[0]["status"].(map[string]any)
	metadata, _ := s.patches[0]["metadata"].(map[string]any)
	if status["phase"] != "Completed" || status["warnings"] != float64(1) || metadata["resourceVersion"] != "1" {
		t.Errorf("patch %v", s.patches[0])
	}
}

// A count of 0 isn't encoded; what stood there of the progress has to go all the same.
func TestFinishLeavesNothingOfTheProgress(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress", progress: map[string]any{"totalItems": 51, "itemsBackedUp": 3}}
	err := open(t, s, uid).Finish(t.Context(), "PartiallyFailed", map[string]any{"progress": &velerov1.BackupProgress{}, "errors": 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"phase": "PartiallyFailed", "errors": float64(1), "progress": map[string]any{"totalItems": nil, "itemsBackedUp": nil}}
	if diff := cmp.Diff(want, s.patches[0]["status"]); diff != "" {
		t.Errorf("status of the patch (-want +got):\n%s", diff)
	}
}

func TestFinishNeverOverwritesAnEnd(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			s := &apiServer{phase: phase}
			err := open(t, s, uid).Finish(t.Context(), "Failed", nil, nil)
			if !errors.Is(err, record.ErrEnded) || len(s.patches) != 0 {
				t.Errorf("error %v, %d patches", err, len(s.patches))
			}
		})
	}
}

func TestFinishGivesUpAfterEndlessConflicts(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress", conflicts: 1000}
	if err := open(t, s, uid).Finish(t.Context(), "Failed", nil, nil); err == nil {
		t.Error("no error")
	}
}

func TestWritesAreBoundToTheUID(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress"}
	r := open(t, s, "other")
	if err := r.Annotate(t.Context(), map[string]string{"a": "b"}); err == nil {
		t.Error("an object created again under the same name was changed")
	}
	if err := r.Finish(t.Context(), "Failed", nil, nil); err == nil {
		t.Error("an object created again under the same name was ended")
	}
}

func TestProgressIsWrittenAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress"}
	r := open(t, s, uid)
	for n := range 100 {
		r.Progress(t.Context(), "itemsBackedUp", 100, n)
	}
	if len(s.patches) != 1 {
		t.Errorf("%d patches, want 1", len(s.patches))
	}
}

func TestBeatAtOnceAndUntilTheEnd(t *testing.T) {
	t.Parallel()
	s := &apiServer{phase: "InProgress"}
	r := open(t, s, uid)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Beat(ctx, 0) }()
	for {
		s.mu.Lock()
		n := len(s.patches)
		s.mu.Unlock()
		if n > 0 {
			break
		}
	}
	cancel()
	<-done
	metadata, _ := s.patches[0]["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations[velerov1.HeartbeatAnnotation] == nil {
		t.Errorf("patch %v has no sign of life", s.patches[0])
	}
}

func TestEventsAreCutToTheLimit(t *testing.T) {
	t.Parallel()
	s := &apiServer{}
	open(t, s, uid).Event(t.Context(), "Warning", "BackupFailed", strings.Repeat("ü", 2000))
	if len(s.events) != 1 {
		t.Fatal("no event")
	}
	message, _ := s.events[0]["message"].(string)
	if len(message) > 1024 || strings.ContainsRune(message, '\uFFFD') {
		t.Errorf("message of %d bytes", len(message))
	}
}

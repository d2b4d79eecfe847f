package preview_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/apitest"
	"github.com/kubectl-velero/kubectl-velero/jobs/preview"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

const (
	token    = "correct-horse-battery"
	uid      = "0123456789"
	jobs     = "/apis/batch/v1/namespaces/velero/jobs"
	bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
)

// executor is a preview that runs.
type executor struct {
	api  *apitest.Server
	url  string
	stop context.CancelFunc

	ended   chan struct{}
	summary report.Summary
	err     error
}

// start runs a preview in a Job with this annotation.
func start(t *testing.T, annotation string, cfg preview.Config) *executor {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &executor{api: apitest.New(t), url: "http://" + listener.Addr().String(), ended: make(chan struct{})}
	e.api.Add(jobs, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{
		Name: "preview-shop-01234567", Namespace: "velero",
		Labels:      map[string]string{velerov1.OperationUIDLabel: uid},
		Annotations: map[string]string{velerov1.RestoreSpecAnnotation: annotation},
	}})
	e.api.Add(bindings, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: launch.BindingName(uid)}})
	e.api.Add(bindings, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "another"}})
	_, kube, _ := e.api.Clients()
	hash := sha256.Sum256([]byte(token))
	cfg.Env = &run.Env{Kube: kube, Namespace: "velero", JobName: "preview-shop-01234567", Log: slog.New(slog.DiscardHandler)}
	cfg.TokenSHA256, cfg.Listener = hex.EncodeToString(hash[:]), listener
	ctx, cancel := context.WithCancel(t.Context())
	e.stop = cancel
	go func() {
		defer close(e.ended)
		e.summary, e.err = preview.Run(ctx, cfg)
	}()
	t.Cleanup(func() { cancel(); <-e.ended; _ = listener.Close() })
	return e
}

// get asks for a path; the body is closed with the test.
func (e *executor) get(ctx context.Context, t *testing.T, path string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// events reads an answer; the progress in it is left out.
func events(t *testing.T, body io.Reader) (items []report.PreviewItem, end *report.PreviewEnd) {
	t.Helper()
	for lines := json.NewDecoder(body); ; {
		var e report.PreviewEvent
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return items, end
		} else if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			t.Errorf("%+v after the end", e)
		}
		if e.Item != nil {
			items = append(items, *e.Item)
		}
		end = e.End
	}
}

// checkEnd wants the preview to have ended so, and its rights to be given up.
func (e *executor) checkEnd(t *testing.T, want report.Outcome) {
	t.Helper()
	<-e.ended
	if e.summary.Outcome != want {
		t.Errorf("ended %+v, %v; want %s", e.summary, e.err, want)
	}
	if left := e.api.List(bindings); len(left) != 1 || left[0].GetName() != "another" {
		t.Errorf("bindings: %v", left)
	}
}

const restoreOfShop = `{"metadata":{"name":"x","annotations":{"a":"b"}},"spec":{"backupName":"shop"}}`

func TestPreview(t *testing.T) {
	t.Parallel()
	for path, wantDiff := range map[string]bool{"/preview": false, "/preview?diff=true": true, "/preview?diff=false": false} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			items := []report.PreviewItem{
				{Resource: "secrets", Namespace: "shop", Name: "a", Action: report.PreviewCreate, Wanted: json.RawMessage(`{"a":1}`)},
				{Resource: "nodes", Name: "b", Action: report.PreviewRefuse, Reason: "<no>", Warnings: []string{"w"}},
			}
			end := report.PreviewEnd{Counts: map[report.PreviewAction]int{report.PreviewCreate: 1, report.PreviewRefuse: 1}, Errors: []string{"x"}}
			e := start(t, restoreOfShop, preview.Config{
				Make: func(_ context.Context, r *velerov1.Restore, diff bool, emit func(report.PreviewItem) error, progress func(int)) report.PreviewEnd {
					if r.Spec.BackupName != "shop" || r.Annotations["a"] != "b" || r.Namespace != "velero" || diff != wantDiff {
						t.Errorf("restore %+v, diff %t", r, diff)
					}
					for i, item := range items {
						progress(i + 1)
						if err := emit(item); err != nil {
							t.Error(err)
						}
					}
					return end
				},
			})
			response := e.get(t.Context(), t, path)
			got, gotEnd := events(t, response.Body)
			if diff := cmp.Diff(items, got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(&end, gotEnd); diff != "" {
				t.Errorf("end (-want +got):\n%s", diff)
			}
			e.checkEnd(t, report.Completed)
		})
	}
}

// TestManyWorkers emits from many goroutines: no line may be torn.
func TestManyWorkers(t *testing.T) {
	t.Parallel()
	const workers, each = 16, 50
	e := start(t, restoreOfShop, preview.Config{
		Make: func(_ context.Context, _ *velerov1.Restore, _ bool, emit func(report.PreviewItem) error, progress func(int)) report.PreviewEnd {
			var all sync.WaitGroup
			for w := range workers {
				all.Go(func() {
					for i := range each {
						progress(i)
						if err := emit(report.PreviewItem{Name: fmt.Sprintf("%d-%d", w, i), Reason: strings.Repeat("x", 1000)}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			return report.PreviewEnd{}
		},
	})
	items, end := events(t, e.get(t.Context(), t, "/preview").Body)
	if len(items) != workers*each || end == nil {
		t.Errorf("%d items, end %v", len(items), end)
	}
}

// waits is a preview that never comes to its end by itself.
func waits(begun chan<- struct{}) preview.Func {
	return func(ctx context.Context, _ *velerov1.Restore, _ bool, _ func(report.PreviewItem) error, _ func(int)) report.PreviewEnd {
		close(begun)
		<-ctx.Done()
		return report.PreviewEnd{Reason: "it was stopped"}
	}
}

func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	e := start(t, restoreOfShop, preview.Config{Make: waits(begun)})
	ctx, leave := context.WithCancel(t.Context())
	response := e.get(ctx, t, "/preview")
	<-begun
	if line, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || line != "{\"progress\":0}\n" {
		t.Errorf("first line %q, %v", line, err)
	}
	leave()
	e.checkEnd(t, report.Cancelled)
}

func TestStopped(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	e := start(t, restoreOfShop, preview.Config{Make: waits(begun)})
	response := e.get(t.Context(), t, "/preview")
	<-begun
	e.stop()
	if _, end := events(t, response.Body); end == nil || end.Reason != "it was stopped" {
		t.Errorf("end %+v", end)
	}
	e.checkEnd(t, report.Cancelled)
}

func TestOnlyOne(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{})
	e := start(t, restoreOfShop, preview.Config{Make: waits(begun)})
	e.get(t.Context(), t, "/preview")
	<-begun
	if second := e.get(t.Context(), t, "/preview"); second.StatusCode != http.StatusConflict {
		t.Errorf("a second preview: %s", second.Status)
	}
	if key := e.get(t.Context(), t, "/backups/shop/velero-backup.json"); key.StatusCode != http.StatusForbidden {
		t.Errorf("a key of the bucket: %s", key.Status)
	}
}

func TestNobodyAsks(t *testing.T) {
	t.Parallel()
	e := start(t, restoreOfShop, preview.Config{Idle: 10 * time.Millisecond})
	e.checkEnd(t, report.Completed)
}

func TestWrongAnnotation(t *testing.T) {
	t.Parallel()
	e := start(t, "", preview.Config{})
	e.checkEnd(t, report.Usage)
	if want := `decode annotation kubectl-velero.io/restore-spec of Job "preview-shop-01234567": `; e.err == nil || !strings.HasPrefix(e.err.Error(), want) {
		t.Errorf("error %v", e.err)
	}
}

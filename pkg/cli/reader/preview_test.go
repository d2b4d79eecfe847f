package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// tried is a Preview whose port-forward leads to handler.
func tried(t *testing.T, handler http.HandlerFunc) *Preview {
	t.Helper()
	r := connected(t, handler)
	r.doing = "try the restore"
	return &Preview{server: r.server}
}

func TestPreviewRun(t *testing.T) {
	t.Parallel()
	p := tried(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.String() != "/preview?diff=true" {
			http.Error(w, "wrong request", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"progress":0}`)
		fmt.Fprintln(w, `{"item":{"resource":"secrets","name":"a","action":"create","wanted":{"n":12345678901234567890}}}`)
		fmt.Fprintln(w, `{"end":{"counts":{"create":1},"errors":["x"]}}`)
		fmt.Fprintln(w, `{"item":{"resource":"secrets","name":"after the end","action":"create"}}`)
	})
	var events []report.PreviewEvent
	end, err := p.Run(t.Context(), true, func(e report.PreviewEvent) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantEnd := report.PreviewEnd{Counts: map[report.PreviewAction]int{report.PreviewCreate: 1}, Errors: []string{"x"}}
	if diff := cmp.Diff(wantEnd, end); diff != "" {
		t.Errorf("end (-want +got):\n%s", diff)
	}
	zero := 0
	want := []report.PreviewEvent{{Progress: &zero}, {Item: &report.PreviewItem{
		Resource: "secrets", Name: "a", Action: report.PreviewCreate, Wanted: json.RawMessage(`{"n":12345678901234567890}`),
	}}}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestPreviewBrokenOff: an answer without its end tells nothing.
func TestPreviewBrokenOff(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"nothing":     {func(http.ResponseWriter) {}, "try the restore: the answer broke off before its end: unexpected EOF"},
		"no end":      {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"progress":1}`) }, "try the restore: the answer broke off before its end: unexpected EOF"},
		"half a line": {func(w http.ResponseWriter) { fmt.Fprint(w, `{"end":{"cou`) }, "try the restore: the answer broke off before its end: unexpected EOF"},
		"cut": {func(w http.ResponseWriter) {
			fmt.Fprintln(w, `{"progress":1}`)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "try the restore: the answer broke off before its end: unexpected EOF"},
		"a second client": {func(w http.ResponseWriter) { http.Error(w, "it has begun", http.StatusConflict) }, "try the restore: it has begun"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tried(t, func(w http.ResponseWriter, _ *http.Request) { c.answer(w) })
			_, err := p.Run(t.Context(), false, func(report.PreviewEvent) error { return nil })
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	gone := errors.New("closed")
	p := tried(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"progress":1}`) })
	if _, err := p.Run(t.Context(), false, func(report.PreviewEvent) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

// cluster is one without controllers, in which nothing but the installation is.
func cluster() (*fake.Clientset, PreviewConfig) {
	kube := fake.NewClientset(&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "velero", UID: "owner"}})
	return kube, PreviewConfig{
		Cluster: Cluster{
			Kube: kube, Observer: &launch.Observer{Kube: kube, Namespace: "velero"},
			Template: &corev1.PodTemplate{}, Namespace: "velero",
		},
		Restore: &velerov1.Restore{
			ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{"a": "b"}},
			Spec:       velerov1.RestoreSpec{BackupName: "shop"},
		},
		Rights: launch.Rights{Kube: kube, Namespace: "velero", Role: "view"},
		Location: &velerov1.BackupStorageLocation{Spec: velerov1.BackupStorageLocationSpec{
			Credential: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "own"}, Key: "k"},
		}},
	}
}

// changes are the writes of a clientset, as VERB RESOURCE.
func changes(kube *fake.Clientset) []string {
	var all []string
	for _, action := range kube.Actions() {
		if verb := action.GetVerb(); verb != "get" && verb != "list" {
			all = append(all, verb+" "+action.GetResource().Resource)
		}
	}
	return all
}

func TestPreviewJob(t *testing.T) {
	t.Parallel()
	_, cfg := cluster()
	p := &Preview{server: &server{token: "0123456789abcdef"}, cfg: cfg, uid: "01234567-89ab"}
	job, err := p.build()
	if err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.Template.Spec
	if job.Name != "preview-shop-01234567" || pod.ServiceAccountName != launch.RestoreServiceAccount ||
		!slices.Equal(pod.Containers[0].Args, []string{"preview"}) || pod.Volumes[0].Secret.SecretName != "own" {
		t.Errorf("Job %+v", job)
	}
	var restore velerov1.Restore
	if err := json.Unmarshal([]byte(job.Annotations[velerov1.RestoreSpecAnnotation]), &restore); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*cfg.Restore, restore); diff != "" {
		t.Errorf("restore (-want +got):\n%s", diff)
	}
	body, err := json.Marshal(job)
	if err != nil || strings.Contains(string(body), p.token) {
		t.Errorf("the token is in the Job (%v)", err)
	}
}

// TestOpenPreviewLeavesNothing gives up at each step of the start.
func TestOpenPreviewLeavesNothing(t *testing.T) {
	t.Parallel()
	everything := []string{"create clusterrolebindings", "create jobs", "delete jobs", "delete clusterrolebindings"}
	cases := map[string]struct {
		arrange func(kube *fake.Clientset, interrupt func())
		want    []string
		wantErr string
	}{
		"interrupted before": {
			func(_ *fake.Clientset, interrupt func()) { interrupt() },
			nil, "context canceled",
		},
		"interrupted while its rights are given": {
			func(kube *fake.Clientset, interrupt func()) {
				kube.PrependReactor("create", "clusterrolebindings", func(clienttesting.Action) (bool, runtime.Object, error) { interrupt(); return false, nil, nil })
			},
			everything, "context canceled",
		},
		"interrupted while its Job is created": {
			func(kube *fake.Clientset, interrupt func()) {
				kube.PrependReactor("create", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) { interrupt(); return false, nil, nil })
			},
			everything, "context canceled",
		},
		"no rights to give": {
			func(kube *fake.Clientset, _ func()) {
				kube.PrependReactor("create", "clusterrolebindings", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("no answer") })
			},
			[]string{"create clusterrolebindings", "delete clusterrolebindings"}, "no answer",
		},
		"the Job is refused": {
			func(kube *fake.Clientset, _ func()) {
				kube.PrependReactor("create", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("quota") })
			},
			everything, "quota",
		},
		"no pod": {func(*fake.Clientset, func()) {}, everything, "its pod did not start in time"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kube, cfg := cluster()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			c.arrange(kube, cancel)
			_, err := OpenPreview(ctx, cfg)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error %v, want %s", err, c.wantErr)
			}
			if diff := cmp.Diff(c.want, changes(kube)); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			jobs, err := kube.BatchV1().Jobs("velero").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(jobs.Items) > 0 {
				t.Errorf("Jobs: %v, %v", jobs.Items, err)
			}
			bindings, err := kube.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
			if err != nil || len(bindings.Items) != 1 {
				t.Errorf("ClusterRoleBindings: %v, %v", bindings.Items, err)
			}
		})
	}
}

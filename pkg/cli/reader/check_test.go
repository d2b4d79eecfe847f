package reader

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// checked is a Check whose port-forward leads to handler.
func checked(t *testing.T, handler http.HandlerFunc) *Check {
	t.Helper()
	r := connected(t, handler)
	r.doing = "check the storage location"
	return &Check{server: r.server}
}

func TestCheckRun(t *testing.T) {
	t.Parallel()
	c := checked(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.String() != "/check" {
			http.Error(w, "wrong request", http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, `{"running":"list"}`)
		fmt.Fprintln(w, `{"check":{"name":"list","status":"ok","text":"x"}}`)
		fmt.Fprintln(w, `{"end":{"location":"default","checks":[{"name":"list","status":"ok","text":"x"}]}}`)
		fmt.Fprintln(w, `{"check":{"name":"after the end"}}`)
	})
	var events []report.CheckEvent
	end, err := c.Run(t.Context(), func(e report.CheckEvent) error {
		events = append(events, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	list := report.Check{Name: "list", Status: report.CheckOK, Text: "x"}
	if diff := cmp.Diff([]report.CheckEvent{{Running: "list"}, {Check: &list}}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(report.LocationCheck{Location: "default", Checks: []report.Check{list}}, end); diff != "" {
		t.Errorf("end (-want +got):\n%s", diff)
	}
}

// TestCheckBrokenOff: an answer without its end proves nothing.
func TestCheckBrokenOff(t *testing.T) {
	t.Parallel()
	torn := "check the storage location: the answer broke off before its end: unexpected EOF"
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string
	}{
		"nothing":         {func(http.ResponseWriter) {}, torn},
		"no end":          {func(w http.ResponseWriter) { fmt.Fprintln(w, `{"check":{"name":"list","status":"ok"}}`) }, torn},
		"half a line":     {func(w http.ResponseWriter) { fmt.Fprint(w, `{"end":{"loc`) }, torn},
		"a second client": {func(w http.ResponseWriter) { http.Error(w, "it has begun", http.StatusConflict) }, "check the storage location: it has begun"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check := checked(t, func(w http.ResponseWriter, _ *http.Request) { c.answer(w) })
			if _, err := check.Run(t.Context(), func(report.CheckEvent) error { return nil }); err == nil || err.Error() != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
	closed := errors.New("closed")
	check := checked(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, `{"running":"list"}`) })
	if _, err := check.Run(t.Context(), func(report.CheckEvent) error { return closed }); !errors.Is(err, closed) {
		t.Errorf("%v", err)
	}
}

func TestCheckJob(t *testing.T) {
	t.Parallel()
	cfg := CheckConfig{
		Cluster: Cluster{
			Namespace: "velero",
			Template: &corev1.PodTemplate{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
				Containers: []corev1.Container{{Name: launch.ContainerName, Image: "x"}},
			}}},
		},
		Location: &velerov1.BackupStorageLocation{
			ObjectMeta: metav1.ObjectMeta{Name: "offsite"},
			Spec: velerov1.BackupStorageLocationSpec{
				Provider: "aws", Credential: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "own"}, Key: "k"},
			},
		},
		Size: 1024,
	}
	s, err := newServer(cfg.Cluster, velerov1.OperationCheck, "check")
	if err != nil {
		t.Fatal(err)
	}
	job := (&Check{server: s}).build(cfg)
	if !strings.HasPrefix(job.Name, "check-offsite-") || job.Labels[velerov1.OperationLabel] != "check" {
		t.Errorf("%q, %v", job.Name, job.Labels)
	}
	spec := job.Spec.Template.Spec
	if diff := cmp.Diff([]string{"check", "--location", "offsite", "--size", "1024"}, spec.Containers[0].Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if spec.AutomountServiceAccountToken != nil && !*spec.AutomountServiceAccountToken {
		t.Error("it can't ask the API server")
	}
	if spec.ServiceAccountName != launch.ServiceAccount || *job.Spec.TTLSecondsAfterFinished != int32(launch.ShortTTL.Seconds()) {
		t.Errorf("account %q, TTL %d", spec.ServiceAccountName, *job.Spec.TTLSecondsAfterFinished)
	}
	if len(spec.Volumes) != 1 || spec.Volumes[0].Secret.SecretName != "own" {
		t.Errorf("volumes %+v", spec.Volumes)
	}
	for _, env := range spec.Containers[0].Env {
		if strings.Contains(env.Value, s.token) {
			t.Errorf("the token itself is in %s", env.Name)
		}
	}
}

package reader

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

func TestVolumesRun(t *testing.T) {
	t.Parallel()
	row := report.VolumeCheck{PV: "pv-1", Method: "CSISnapshot", Status: report.VolumeMissing}
	for name, c := range map[string]struct {
		lines []string
		end   report.VolumesEnd
		rows  []report.VolumeCheck
		err   string
	}{
		"whole": {
			lines: []string{
				`{"progress":{"done":0,"total":1}}`, `{"volume":{"pv":"pv-1","method":"CSISnapshot","status":"missing"}}`,
				`{"end":{"checked":1,"missing":1}}`, `{"volume":{"pv":"after the end"}}`,
			},
			rows: []report.VolumeCheck{row}, end: report.VolumesEnd{Checked: 1, Missing: 1},
		},
		"torn": {
			lines: []string{`{"volume":{"pv":"pv-1","method":"CSISnapshot","status":"missing"}}`},
			rows:  []report.VolumeCheck{row}, err: "look for the volumes' data: the answer broke off before its end: unexpected EOF",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := connected(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/volumes" || r.Header.Get("Authorization") != "Bearer secret" {
					http.Error(w, "wrong request", http.StatusBadRequest)
				}
				for _, line := range c.lines {
					fmt.Fprintln(w, line)
				}
			})
			r.doing = "look for the volumes' data"
			var rows []report.VolumeCheck
			end, err := (&Volumes{server: r.server}).Run(t.Context(), func(e report.VolumeEvent) error {
				if e.Volume != nil {
					rows = append(rows, *e.Volume)
				}
				return nil
			})
			if c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && err != nil {
				t.Errorf("%v, want %s", err, c.err)
			}
			if diff := cmp.Diff(c.end, end); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.rows, rows); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestVolumesJob is told whom the user trusts, and no secret.
func TestVolumesJob(t *testing.T) {
	t.Parallel()
	location := &velerov1.BackupStorageLocation{Spec: velerov1.BackupStorageLocationSpec{Provider: "aws"}}
	location.Spec.ObjectStorage = &velerov1.ObjectStorageLocation{Bucket: "b", CACertRef: &corev1.SecretKeySelector{Key: "ca.crt"}}
	location.Spec.ObjectStorage.CACertRef.Name = "old"
	cfg := VolumesConfig{
		Cluster: Cluster{Namespace: "velero", Template: &corev1.PodTemplate{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: launch.ContainerName}}}}}},
		Backup:  "shop", Location: location, Trust: settings.Trust{CACert: []byte("pem"), Insecure: true},
	}
	s, err := newServer(cfg.Cluster, velerov1.OperationVerify, "look")
	if err != nil {
		t.Fatal(err)
	}
	job, err := (&Volumes{server: s}).build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	container := job.Spec.Template.Spec.Containers[0]
	if diff := cmp.Diff([]string{"verify-volumes", "--backup", "shop"}, container.Args); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	var trusted settings.Trust
	for _, env := range container.Env {
		if strings.Contains(env.Value, s.token) {
			t.Errorf("the token itself is in %s", env.Name)
		}
		if trusted, err := cfg.Trust.Of(location); err != nil || env.Name == launch.LocationMountsVariable && env.Value != launch.MountsOf(trusted).Hash() {
			t.Errorf("mounts are not those of the location as it will be opened: %s, %v", env.Value, err)
		}
		if env.Name == "STORAGE_TRUST" {
			if trusted, err = settings.DecodeTrust(env.Value); err != nil {
				t.Error(err)
			}
		}
	}
	if diff := cmp.Diff(cfg.Trust, trusted); diff != "" {
		t.Errorf("trust (-want +got):\n%s", diff)
	}
	if body, err := json.Marshal(job); err != nil || strings.Contains(string(body), `"old"`) {
		t.Errorf("the location's own certificates are mounted: %s, %v", body, err)
	}
	cfg.Trust.CACert = make([]byte, 200<<10)
	if _, err := (&Volumes{server: s}).build(cfg); err == nil || !strings.Contains(err.Error(), "200 KiB, and at most 88 fit; hint: ") {
		t.Errorf("certificates that don't fit: %v", err)
	}
}

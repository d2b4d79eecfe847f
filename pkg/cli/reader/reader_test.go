package reader

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// connected is a Reader whose port-forward leads to handler.
func connected(t *testing.T, handler http.HandlerFunc) *Reader {
	t.Helper()
	backend := httptest.NewServer(handler)
	t.Cleanup(backend.Close)
	return &Reader{server: &server{base: backend.URL, token: "secret", client: backend.Client()}}
}

func TestGet(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer  http.HandlerFunc
		want    string
		wantErr string
		missing bool
	}{
		"an object": {
			func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/backups/a b/x.gz" {
					http.Error(w, "wrong request", http.StatusBadRequest)
					return
				}
				_, _ = io.WriteString(w, "content")
			}, "content", "", false,
		},
		"no object": {
			func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such key", http.StatusNotFound) },
			"", `read "backups/a b/x.gz" from the bucket: no such object in the bucket`, true,
		},
		"a store that fails": {
			func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "access denied; hint: check the credentials", http.StatusBadGateway)
			}, "", `read "backups/a b/x.gz" from the bucket: access denied; hint: check the credentials`, false,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := connected(t, c.answer).Get(t.Context(), "backups/a b/x.gz")
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr || errors.Is(err, ErrNotExist) != c.missing {
					t.Fatalf("got %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || string(got) != c.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// TestGetWaitsForTheServer covers the moment in which the pod runs and the
// server in it doesn't listen yet.
func TestGetWaitsForTheServer(t *testing.T) {
	t.Parallel()
	calls := 0
	r := connected(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 3 {
			panic(http.ErrAbortHandler) // the connection breaks without an answer
		}
		_, _ = io.WriteString(w, "content")
	})
	body, err := r.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	r.base = "http://127.0.0.1:1"
	if _, err := r.Get(ctx, "k"); err == nil {
		t.Error("no error without a server")
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	location := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", Config: map[string]string{"region": "eu-1"},
			Credential:    &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "own"}, Key: "k"},
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "b", Prefix: "p", CACert: []byte("inline")},
		},
	}
	r := &Reader{server: &server{token: "0123456789abcdef"}, cfg: Config{
		Cluster:  Cluster{Template: &corev1.PodTemplate{}, Namespace: "velero"},
		Location: location, CACert: []byte("from the secret"),
		Name: "shop", Prefixes: []string{"backups/shop/", "restores/x/"},
	}}
	job, err := r.build()
	if err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.Template.Spec
	env := map[string]string{}
	for _, e := range pod.Containers[0].Env {
		env[e.Name] = e.Value
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the reader gets an API token")
	}
	if env["READ_PREFIXES"] != "backups/shop/,restores/x/" || len(env["READ_TOKEN_SHA256"]) != 64 {
		t.Errorf("environment: %v", env)
	}
	// The executor decodes what the plugin wrote by hand.
	var got store.Location
	decoder := json.NewDecoder(strings.NewReader(env["VELERO_LOCATION"]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := store.FromSpec(location, []byte("from the secret"), launch.CredentialsDir+"/"+launch.CredentialsKey)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	body, err := json.Marshal(job)
	if err != nil || strings.Contains(string(body), r.token) {
		t.Errorf("the token is in the Job (%v)", err)
	}
}

func TestJobNeedsABucket(t *testing.T) {
	t.Parallel()
	r := &Reader{cfg: Config{Location: &velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: "x"}}}}
	if _, err := r.build(); err == nil || err.Error() != `storage location "x" names no bucket` {
		t.Errorf("got %v", err)
	}
}

// Package reader reads objects out of a bucket without a cloud SDK: it starts
// the Job that serves them, reaches it by port-forward, and ends it. So a bucket
// that only the cluster can reach can be read, with the cluster's credentials.
package reader

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// ErrNotExist means that the bucket has no object of that key.
var ErrNotExist = errors.New("no such object in the bucket")

// How long each step may take. The whole is bounded by the caller's context.
const (
	answerPatience  = 15 * time.Second // until the server in a running pod answers
	answerEvery     = 250 * time.Millisecond
	podEvery        = 300 * time.Millisecond
	closingPatience = 5 * time.Second
	// jobDeadline ends a Job that a client lost and that still serves somebody.
	jobDeadline = time.Hour
)

// serverPort is where the server in the pod listens, on loopback only.
const serverPort = 8080

// Config says what to read and how to get there.
type Config struct {
	REST     *rest.Config
	Kube     kubernetes.Interface
	Observer *launch.Observer
	// Template is the installation's pod template.
	Template *corev1.PodTemplate
	// Location is the bucket; CACert is the content of its caCertRef, may be nil.
	Location *velerov1.BackupStorageLocation
	CACert   []byte
	// Namespace is Velero's; Name is the backup or restore, for the Job's name.
	Namespace, Name string
	// Prefixes are the key prefixes that may be read, such as "backups/shop/".
	Prefixes []string
}

// Reader is an open connection to the Job. It is not safe for concurrent use.
type Reader struct {
	cfg    Config
	job    *batchv1.Job
	token  string
	base   string // URL of the local end of the port-forward
	client *http.Client
	tunnel *tunnel // nil before the first connection
}

// Open starts the Job and connects to it. The context bounds the start, and
// must live as long as the Reader. Close must be called.
func Open(ctx context.Context, cfg Config) (*Reader, error) {
	token := make([]byte, sha256.Size)
	if _, err := rand.Read(token); err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	r := &Reader{cfg: cfg, token: hex.EncodeToString(token), client: &http.Client{Transport: &http.Transport{}}}
	job, err := r.build()
	if err != nil {
		return nil, err
	}
	if r.job, err = launch.Start(ctx, cfg.Kube, job); err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

// location is the form in which the executor takes a location. It is spelled
// out here because the package that defines it links cloud SDKs.
type location struct {
	Provider        string            `json:"provider"`
	Bucket          string            `json:"bucket"`
	Prefix          string            `json:"prefix,omitempty"`
	Config          map[string]string `json:"config,omitempty"`
	CACert          []byte            `json:"caCert,omitempty"`
	CredentialsFile string            `json:"credentialsFile,omitempty"`
}

func (r *Reader) build() (*batchv1.Job, error) {
	spec := r.cfg.Location.Spec
	if spec.ObjectStorage == nil {
		return nil, fmt.Errorf("storage location %q names no bucket", r.cfg.Location.Name)
	}
	l := location{
		Provider: spec.Provider, Bucket: spec.ObjectStorage.Bucket, Prefix: spec.ObjectStorage.Prefix,
		Config: spec.Config, CACert: r.cfg.CACert,
		CredentialsFile: launch.CredentialsDir + "/" + launch.CredentialsKey,
	}
	if len(l.CACert) == 0 {
		l.CACert = spec.ObjectStorage.CACert
	}
	body, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode storage location %q: %w", r.cfg.Location.Name, err)
	}
	hash := sha256.Sum256([]byte(r.token))
	return launch.Job(r.cfg.Template, launch.Operation{
		Kind: velerov1.OperationRead, Namespace: r.cfg.Namespace, Name: r.cfg.Name, UID: uuid.NewUUID(),
		NoAPIToken: true,
		Args:       []string{"read"},
		Env: []corev1.EnvVar{
			{Name: "VELERO_LOCATION", Value: string(body)},
			{Name: "READ_PREFIXES", Value: strings.Join(r.cfg.Prefixes, ",")},
			{Name: "READ_TOKEN_SHA256", Value: hex.EncodeToString(hash[:])},
		},
		Credential: spec.Credential,
		Deadline:   jobDeadline,
	}), nil
}

func (r *Reader) connect(ctx context.Context) error {
	pod, err := r.runningPod(ctx)
	if err != nil {
		return err
	}
	t, err := forward(ctx, r.cfg.REST, r.cfg.Namespace, pod, serverPort)
	if err != nil {
		return fmt.Errorf("reach pod %q: %w; hint: that needs the right to create pods/portforward in namespace %q", pod, err, r.cfg.Namespace)
	}
	r.tunnel = t
	r.base = fmt.Sprintf("http://127.0.0.1:%d", t.port)
	return nil
}

// runningPod waits for the Job's pod.
func (r *Reader) runningPod(ctx context.Context) (string, error) {
	cause := "its pod did not start in time"
	for {
		state, err := r.cfg.Observer.Observe(ctx, launch.Target{Operation: velerov1.OperationRead, Job: r.job.Name})
		if err == nil {
			verdict := launch.Judge(state)
			switch {
			case verdict.Standing == launch.Running && state.Pod() != nil:
				return state.Pod().Name, nil
			case verdict.Standing == launch.Ended:
				return "", fmt.Errorf("read from the bucket: Job %q ended: %s", r.job.Name, verdict.Reason)
			case verdict.Cause != "":
				cause = verdict.Cause
			}
		}
		select {
		case <-ctx.Done():
			if err != nil && ctx.Err() == nil {
				return "", err
			}
			return "", fmt.Errorf("read from the bucket: Job %q: %s: %w", r.job.Name, cause, ctx.Err())
		case <-time.After(podEvery):
		}
	}
}

// Close ends the server and deletes its Job, also after ctx ended.
func (r *Reader) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingPatience)
	defer cancel()
	if r.tunnel != nil {
		// Should this not arrive, the deleted Job ends the server.
		if response, err := r.do(ctx, http.MethodPost, "done", nil); err == nil {
			response.Body.Close()
		}
		r.client.CloseIdleConnections()
		r.tunnel.stop()
	}
	err := r.cfg.Kube.BatchV1().Jobs(r.job.Namespace).Delete(ctx, r.job.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
	})
	if err != nil {
		return fmt.Errorf("delete Job %q, which ends by itself in two minutes: %w", r.job.Name, err)
	}
	return nil
}

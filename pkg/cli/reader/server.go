package reader

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

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

// tokenEnv is the variable in which the executor gets the token's hash.
const tokenEnv = "READ_TOKEN_SHA256"

// Cluster is where Jobs are started and how to reach their pods.
type Cluster struct {
	REST     *rest.Config
	Kube     kubernetes.Interface
	Observer *launch.Observer
	// Template is the installation's pod template.
	Template *corev1.PodTemplate
	// Namespace is Velero's.
	Namespace string
}

// server is a Job that serves this process over HTTP, and the way to it. It is
// not safe for concurrent use.
type server struct {
	cluster Cluster
	// operation is one of velerov1's constants; doing is how messages call it.
	operation, doing string
	job              *batchv1.Job
	token            string
	base             string // URL of the local end of the port-forward
	client           *http.Client
	tunnel           *tunnel // nil before the first connection
}

func newServer(cluster Cluster, operation, doing string) (*server, error) {
	token := make([]byte, sha256.Size)
	if _, err := rand.Read(token); err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	return &server{
		cluster: cluster, operation: operation, doing: doing,
		token: hex.EncodeToString(token), client: &http.Client{Transport: &http.Transport{}},
	}, nil
}

// tokenHash is what the Job is told of the token.
func (s *server) tokenHash() corev1.EnvVar {
	hash := sha256.Sum256([]byte(s.token))
	return corev1.EnvVar{Name: tokenEnv, Value: hex.EncodeToString(hash[:])}
}

// connect opens the port-forward as soon as the Job's pod runs.
func (s *server) connect(ctx context.Context) error {
	pod, err := s.runningPod(ctx)
	if err != nil {
		return err
	}
	t, err := forward(ctx, s.cluster.REST, s.cluster.Namespace, pod, serverPort)
	if err != nil {
		return fmt.Errorf("reach pod %q: %w; hint: that needs the right to create pods/portforward in namespace %q", pod, err, s.cluster.Namespace)
	}
	s.tunnel = t
	s.base = fmt.Sprintf("http://127.0.0.1:%d", t.port)
	return nil
}

// runningPod waits for the Job's pod.
func (s *server) runningPod(ctx context.Context) (string, error) {
	cause := "its pod did not start in time"
	for {
		state, verdict, err := s.observe(ctx)
		switch {
		case err != nil:
		case verdict.Standing == launch.Running && state.Pod() != nil:
			return state.Pod().Name, nil
		case verdict.Standing == launch.Ended:
			return "", fmt.Errorf("%s: Job %q ended: %s", s.doing, s.job.Name, verdict.Reason)
		case verdict.Cause != "":
			cause = verdict.Cause
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return "", fmt.Errorf("%s: %w", s.doing, ctx.Err())
			}
			return "", fmt.Errorf("%s: Job %q: %s: %w", s.doing, s.job.Name, cause, ctx.Err())
		case <-time.After(podEvery):
		}
	}
}

func (s *server) observe(ctx context.Context) (launch.State, launch.Verdict, error) {
	state, err := s.cluster.Observer.Observe(ctx, launch.Target{Operation: s.operation, Job: s.job.Name})
	if err != nil {
		return launch.State{}, launch.Verdict{}, err
	}
	return state, launch.Judge(state), nil
}

// whyEnded says why the Job ended, if it has or soon does; else it is empty.
func (s *server) whyEnded(ctx context.Context) string {
	if s.job == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, closingPatience)
	defer cancel()
	for {
		if _, verdict, err := s.observe(ctx); err == nil && verdict.Standing == launch.Ended {
			return verdict.Reason
		}
		select {
		case <-ctx.Done():
			return ""
		case <-time.After(podEvery):
		}
	}
}

// failed explains an answer without an end by the Job's, where that is known.
func (s *server) failed(ctx context.Context, err error) error {
	torn, unanswered := (*tornError)(nil), (*url.Error)(nil)
	if (errors.As(err, &torn) || errors.As(err, &unanswered)) && ctx.Err() == nil {
		if reason := s.whyEnded(ctx); reason != "" {
			return fmt.Errorf("%s: Job %q ended: %s", s.doing, s.job.Name, reason)
		}
	}
	return fmt.Errorf("%s: %w", s.doing, err)
}

// stop ends the server and deletes its Job, also after ctx ended.
func (s *server) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingPatience)
	defer cancel()
	if s.tunnel != nil {
		// Should this not arrive, the deleted Job ends the server.
		if response, err := s.do(ctx, call{method: http.MethodPost, path: "done"}); err == nil {
			response.Body.Close()
		}
		s.client.CloseIdleConnections()
		s.tunnel.stop()
	}
	err := s.cluster.Kube.BatchV1().Jobs(s.job.Namespace).Delete(ctx, s.job.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr.To(metav1.DeletePropagationBackground),
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Job %q, which ends by itself in two minutes: %w", s.job.Name, err)
	}
	return nil
}

// tale hands what a Job tells to tell, line by line, whose error ends it, and returns
// the end, which end finds in the last line. An error means that there was none.
func tale[Event, End any](ctx context.Context, s *server, c call, end func(Event) *End, tell func(Event) error) (last End, err error) {
	response, err := s.ask(ctx, c)
	if err != nil {
		return last, s.failed(ctx, err)
	}
	defer response.Body.Close()
	err = eachLine(response.Body, func(e Event) (bool, error) {
		if found := end(e); found != nil {
			last = *found
			return true, nil
		}
		return false, tell(e)
	})
	if err != nil {
		var none End
		return none, s.failed(ctx, err)
	}
	return last, nil
}

// eachLine hands the JSON values of an answer to use, one by one, until use says
// that it was the last. An answer that ends before is an error.
func eachLine[T any](body io.Reader, use func(T) (last bool, err error)) error {
	for lines := json.NewDecoder(body); ; {
		var value T
		if err := lines.Decode(&value); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return &tornError{err}
		}
		if last, err := use(value); last || err != nil {
			return err
		}
	}
}

// tornError is an answer without its end.
type tornError struct{ cause error }

func (e *tornError) Error() string { return "the answer broke off before its end: " + e.cause.Error() }

// Unwrap is why it broke off.
func (e *tornError) Unwrap() error { return e.cause }

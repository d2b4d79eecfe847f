package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// session is one command's connection to the cluster. Making it makes no
// request.
type session struct {
	*Factory
	namespace string
	config    *rest.Config
	kube      kubernetes.Interface
	velero    *client.Client
	observer  *launch.Observer
	// trust is how buckets are opened for reading.
	trust settings.Trust
}

func (f *Factory) connect() (*session, error) {
	cfg, err := f.RESTConfig()
	if err != nil {
		return nil, err
	}
	s := &session{Factory: f, namespace: f.Namespace(), config: cfg}
	clock := &serverClock{now: f.now}
	plain, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, configError(err)
	}
	httpClient := *plain // it may be the one that all of net/http shares
	httpClient.Transport = clock.wrap(httpClient.Transport)
	if s.kube, err = kubernetes.NewForConfigAndClient(cfg, &httpClient); err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	if s.velero, err = client.NewForHTTP(cfg, &httpClient); err != nil {
		return nil, err
	}
	s.observer = &launch.Observer{Kube: s.kube, Velero: s.velero, Namespace: s.namespace, Now: clock.Now}
	return s, nil
}

// template finds the installation.
func (s *session) template(ctx context.Context) (*corev1.PodTemplate, error) {
	template, err := launch.Template(ctx, s.kube, s.namespace)
	if err != nil && !errors.Is(err, launch.ErrNotInstalled) {
		return nil, s.explain("find the installation", err)
	}
	return template, err
}

// serverClock is the API server's clock, learnt from the Date of its answers.
// Whether an executor is silent must not hang on this machine's clock.
type serverClock struct {
	now    func() time.Time
	offset atomic.Int64 // nanoseconds that the server's clock is ahead
}

// Now is the present time by the API server's clock; by this machine's before
// the first answer.
func (c *serverClock) Now() time.Time { return c.now().Add(time.Duration(c.offset.Load())) }

func (c *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			c.learn(response.Header.Get("Date"))
		}
		return response, err
	})
}

func (c *serverClock) learn(date string) {
	server, err := http.ParseTime(date)
	if err != nil {
		return
	}
	// The header has whole seconds, so a smaller difference says nothing.
	const resolution = 2 * time.Second
	if offset := server.Sub(c.now()); offset.Abs() > resolution {
		c.offset.Store(int64(offset))
	} else {
		c.offset.Store(0)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

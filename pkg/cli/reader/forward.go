package reader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// tunnel is an open port-forward.
type tunnel struct {
	// port is its local end, on loopback.
	port uint16
	// gone is closed when the connection to the pod has ended, for whatever
	// reason.
	gone <-chan struct{}
	// stop closes it and waits until that is done.
	stop func()
}

// forward opens a local port, on loopback and of the system's choice, that
// leads to port in the pod.
func forward(ctx context.Context, cfg *rest.Config, namespace, pod string, port int) (*tunnel, error) {
	target, err := portForwardURL(cfg, namespace, pod)
	if err != nil {
		return nil, err
	}
	dialer, err := newDialer(cfg, target)
	if err != nil {
		return nil, err
	}
	done, ready, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"},
		[]string{fmt.Sprintf("0:%d", port)}, done, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	ended := errors.New("the connection was closed")
	go func() {
		defer close(gone)
		if err := forwarder.ForwardPorts(); err != nil {
			ended = err
		}
	}()
	stop := sync.OnceFunc(func() { close(done); <-gone })
	select {
	case <-ready:
	case <-gone:
		return nil, ended
	case <-ctx.Done():
		// Dialing knows no context, so it is left to its own timeout.
		close(done)
		return nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		stop()
		return nil, err
	}
	return &tunnel{port: ports[0].Local, gone: gone, stop: stop}, nil
}

func portForwardURL(cfg *rest.Config, namespace, pod string) (*url.URL, error) {
	core := rest.CopyConfig(cfg)
	core.GroupVersion = &schema.GroupVersion{Version: "v1"}
	core.APIPath = "/api"
	core.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(core)
	if err != nil {
		return nil, err
	}
	return client.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL(), nil
}

// newDialer prefers websockets, which proxies let through, and falls back to
// SPDY for API servers that don't know them, as kubectl does.
func newDialer(cfg *rest.Config, target *url.URL) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, err
	}
	fallback := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, cfg)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(websocket, fallback, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// remote is an Executor that asks the API server.
type remote struct {
	config *rest.Config
	client *rest.RESTClient // for URLs only
}

// NewExecutor returns an Executor that runs commands through the API server of
// cfg, with cfg's rights: websockets first, which proxies let through, and SPDY
// where the server doesn't take them or gives only the right to create
// pods/exec.
func NewExecutor(cfg *rest.Config) (Executor, error) {
	core := rest.CopyConfig(cfg)
	core.GroupVersion = &schema.GroupVersion{Version: "v1"}
	core.APIPath = "/api"
	core.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(core)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster for hooks: %w", err)
	}
	return &remote{config: core, client: client}, nil
}

// Exec implements Executor. Its errors never hold the command.
func (r *remote) Exec(ctx context.Context, namespace, pod, container string, command []string, stdout, stderr io.Writer) error {
	target := r.client.Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").VersionedParams(
		&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	// The streams of a command that isn't waited for any more break off, which
	// the clients would log as errors of their own.
	ctx = klog.NewContext(ctx, klog.Logger{})
	return plain(r.stream(ctx, target, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr}), target)
}

// stream runs the command at the URL. Both clients hold the state of one
// connection, so each call has its own.
func (r *remote) stream(ctx context.Context, target *url.URL, streams remotecommand.StreamOptions) error {
	websocket, err := remotecommand.NewWebSocketExecutor(r.config, http.MethodGet, target.String())
	if err != nil {
		return err
	}
	if err := websocket.StreamWithContext(ctx, streams); !otherProtocol(err) {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(r.config, http.MethodPost, target)
	if err != nil {
		return err
	}
	return spdy.StreamWithContext(ctx, streams)
}

// otherProtocol reports whether SPDY could do what the websocket couldn't: no
// connection was made, and not because of the pod itself.
func otherProtocol(err error) bool {
	var upgrade *httpstream.UpgradeFailureError
	if errors.As(err, &upgrade) {
		return !apierrors.IsNotFound(upgrade.Cause) && !apierrors.IsBadRequest(upgrade.Cause)
	}
	return httpstream.IsHTTPSProxyError(err)
}

// plain lets the API server's own words stand, and takes the query of the
// request, which holds the command, out of the clients' texts: one of them
// doesn't wrap what it quotes.
func plain(err error, target *url.URL) error {
	var upgrade *httpstream.UpgradeFailureError
	var status *apierrors.StatusError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &upgrade) && errors.As(upgrade.Cause, &status):
		return status
	case strings.Contains(err.Error(), target.RawQuery):
		return errors.New(strings.ReplaceAll(err.Error(), "?"+target.RawQuery, ""))
	}
	return err
}

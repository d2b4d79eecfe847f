package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	// The executor's image holds no certificates of its own: without any on
	// the system, these roots are used.
	_ "golang.org/x/crypto/x509roots/fallback"
)

const (
	// Three attempts at a host that swallows packets, and the pauses between
	// them, must take less than requestTimeout.
	dialTimeout = 4 * time.Second
	// requestTimeout bounds, with all its attempts, a request that moves
	// little data: a store that is down is reported within 20 seconds.
	requestTimeout = 18 * time.Second
	// stallTimeout is how long nothing at all may move on a connection in use;
	// it leaves a server time to put a large upload together.
	stallTimeout = 2 * time.Minute
	// writeBufferSize is in bytes.
	writeBufferSize = 64 << 10
)

// stallConn breaks a connection on which nothing has moved, in neither
// direction, for the timeout: while a part is sent there is nothing to read,
// and while the server works there is nothing to write.
type stallConn struct {
	net.Conn
	timeout time.Duration
}

// Read implements io.Reader.
func (c *stallConn) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write implements io.Writer. It also puts off the deadline of the Read that
// waits for the answer.
func (c *stallConn) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// newHTTPClient returns the client for all requests of a location. It is the
// SDK's own kind, from which the SDK derives clients with other timeouts, for
// instance for a node's metadata service.
func newHTTPClient(caCert []byte, insecure bool) (*awshttp.BuildableClient, error) {
	roots, err := trustedRoots(caCert)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	client := awshttp.NewBuildableClient().
		WithReadTimeout(0). // it would end an upload that is merely slow; see stallConn
		WithTransportOptions(func(t *http.Transport) {
			t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return &stallConn{Conn: conn, timeout: stallTimeout}, nil
			}
			t.WriteBufferSize = writeBufferSize
			t.TLSHandshakeTimeout = dialTimeout
			if t.TLSClientConfig == nil {
				t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			t.TLSClientConfig.RootCAs = roots
			t.TLSClientConfig.InsecureSkipVerify = insecure
		})
	return client, nil
}

// trustedRoots are the system's roots, or the embedded ones where the system
// has none, and those in caCert (PEM). Nil means the default.
func trustedRoots(caCert []byte) (*x509.CertPool, error) {
	if len(caCert) == 0 {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's certificates: %w", err)
	}
	if !roots.AppendCertsFromPEM(caCert) {
		return nil, errors.New("the CA certificate of the location holds no certificate in PEM form; hint: it must start with -----BEGIN CERTIFICATE-----, encoded in base64 once in YAML")
	}
	return roots, nil
}

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

	// The executor's image holds no certificates of its own: without any on
	// the system, these roots are used.
	_ "golang.org/x/crypto/x509roots/fallback"
)

const (
	// Three attempts at a host that swallows packets, and the pauses between
	// them, must take less than requestTimeout.
	dialTimeout = 4 * time.Second
	// stallTimeout is how long nothing at all may move on a connection in use;
	// it leaves a server time to put a large upload together.
	stallTimeout = 2 * time.Minute
	// idleTimeout is how long a connection that nobody uses is kept.
	idleTimeout = 90 * time.Second
	// idleConnections is how many of those there may be: catalogs read many
	// objects at once.
	idleConnections = 32
	// writeBufferSize is in bytes.
	writeBufferSize = 64 << 10
	// continueTimeout is how long a body is held back that its server may refuse
	// unread.
	continueTimeout = time.Second
)

// newTransport returns what carries all requests of a location, those for its
// identity too: it trusts the location's CA beside the system's, goes through the
// proxies that the environment names, gives up a connection on which nothing
// moves, and outlasts a name server that fails for a while. A client made with it
// needs no timeout of its own, which would end uploads that are merely slow.
func newTransport(l Location, insecure bool) (*http.Transport, error) {
	configure, err := transportOptions(l, insecure)
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		MaxIdleConns:          idleConnections,
		MaxIdleConnsPerHost:   idleConnections,
		IdleConnTimeout:       idleTimeout,
		ExpectContinueTimeout: continueTimeout,
	}
	configure(t)
	return t, nil
}

// transportOptions is what newTransport sets, for SDKs that bring a transport of
// their own.
func transportOptions(l Location, insecure bool) (func(*http.Transport), error) {
	roots, err := trustedRoots(l.CACert)
	if err != nil {
		return nil, err
	}
	return func(t *http.Transport) {
		t.DialContext = newDialer().DialContext
		t.WriteBufferSize = writeBufferSize
		t.TLSHandshakeTimeout = dialTimeout
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.RootCAs = roots
		t.TLSClientConfig.InsecureSkipVerify = insecure
	}, nil
}

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

// pause waits, but not beyond the end of ctx; whoever calls looks at that next.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

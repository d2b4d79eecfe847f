package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// networkHints are the words of a provider for trouble on the way to its store.
type networkHints struct {
	// Reach is what to check when the store can't be reached.
	Reach string
	// URL is the config key that holds the store's URL.
	URL string
}

// classifyCancelled fills in e where it was the caller who gave up, and says
// whether it was: what an SDK makes of that doesn't matter.
func classifyCancelled(ctx context.Context, e *opError) bool {
	if ctx.Err() == nil || errors.Is(context.Cause(ctx), errTimeout) {
		return false
	}
	e.cause = errors.Join(context.Cause(ctx), ctx.Err())
	e.detail = context.Cause(ctx).Error()
	return true
}

// classifyNetwork fills in kind, detail and hint of an error that is no answer of
// the store.
func classifyNetwork(ctx context.Context, e *opError, h networkHints) {
	var certificate *tls.CertificateVerificationError
	var unknownCA x509.UnknownAuthorityError
	err := e.cause
	e.detail = rootText(err)
	switch {
	case errors.As(err, &unknownCA):
		e.hint = "name the certificate of the store's CA in spec.objectStorage of the location: caCertRef, or caCert"
	case errors.As(err, &certificate):
		e.hint = fmt.Sprintf("the store's certificate must be valid for the host in %s", h.URL)
	case speaksPlainHTTP(err):
		e.hint = fmt.Sprintf("the store speaks plain http: correct %s", h.URL)
	case errors.Is(context.Cause(ctx), errTimeout), errors.Is(err, errTimeout):
		e.kind, e.detail, e.hint = ErrUnavailable, fmt.Sprintf("no answer within %s", requestTimeout), h.Reach
	case isNetwork(err):
		e.kind, e.hint = ErrUnavailable, h.Reach
	}
}

// isNetwork says that a connection couldn't be made, or broke.
func isNetwork(err error) bool {
	var network net.Error
	var name *nameError
	return errors.As(err, &network) || errors.As(err, &name) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isMistake says that the connection itself can't become better by trying again:
// a certificate that isn't trusted, another protocol, a name server that has
// failed for long.
func isMistake(err error) bool {
	var certificate *tls.CertificateVerificationError
	var name *nameError
	return errors.As(err, &certificate) || errors.As(err, &name) || speaksPlainHTTP(err)
}

// speaksPlainHTTP says that a server didn't answer with TLS.
func speaksPlainHTTP(err error) bool {
	var notTLS tls.RecordHeaderError
	return errors.As(err, &notTLS) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// rootText is the innermost readable part of an error: the wrappers of SDKs
// repeat each other, and may quote a signed URL.
func rootText(err error) string {
	if err == nil {
		return ""
	}
	var name *nameError
	if errors.As(err, &name) {
		return name.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return certificate.Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

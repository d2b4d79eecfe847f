package store

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers every question for an IPv4 address with 127.0.0.1, unless it
// is set to fail.
type nameServer struct {
	conn net.PacketConn
	// code is the answer's dnsmessage.RCode.
	code atomic.Int32
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &nameServer{conn: conn}
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return // closed
			}
			if answer, err := s.answer(buffer[:n]); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return s
}

func (s *nameServer) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.RCode = true, dnsmessage.RCode(s.code.Load())
	m.Additionals = nil
	if q := m.Questions[0]; m.RCode == dnsmessage.RCodeSuccess && q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}

func (s *nameServer) set(code dnsmessage.RCode) { s.code.Store(int32(code)) }

// dialerAt asks the name server, and waits for it for so long.
func (s *nameServer) dialer(patience time.Duration) *dialer {
	d := newDialer()
	d.patience = patience
	d.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
	return d
}

func listenSomewhere(t *testing.T) (port string) {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func dial(t *testing.T, d *dialer, address string) error {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err == nil {
		err = conn.Close()
	}
	return err
}

func TestDialOutlastsANameServer(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.set(dnsmessage.RCodeServerFailure)
	time.AfterFunc(2*namePause, func() { names.set(dnsmessage.RCodeSuccess) })
	start := time.Now()
	if err := dial(t, names.dialer(20*time.Second), "store.example:"+listenSomewhere(t)); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < namePause {
		t.Errorf("it took only %s: the name server didn't fail", took)
	}
}

func TestDialGivesUpOnANameServer(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.set(dnsmessage.RCodeServerFailure)
	err := dial(t, names.dialer(time.Second), "store.example:1")
	var name *nameError
	if !errors.As(err, &name) || !strings.Contains(err.Error(), "store.example") {
		t.Fatalf("error %v", err)
	}
	if !isMistake(err) {
		t.Error("it would be asked again")
	}
	e := &opError{cause: err}
	classifyNetwork(t.Context(), e, networkHints{Reach: "look"})
	if !errors.Is(e, ErrUnavailable) || e.hint != "look" {
		t.Errorf("error %v", e)
	}
}

func TestDialBelievesThatThereIsNoSuchName(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	names.set(dnsmessage.RCodeNameError)
	start := time.Now()
	var dns *net.DNSError
	if err := dial(t, names.dialer(20*time.Second), "store.example:1"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestDialGoesToTheLastAddress(t *testing.T) {
	t.Parallel()
	names := startNameServer(t)
	d := names.dialer(20 * time.Second)
	address := "store.example:" + listenSomewhere(t)
	if err := dial(t, d, address); err != nil {
		t.Fatal(err)
	}
	for _, code := range []dnsmessage.RCode{dnsmessage.RCodeServerFailure, dnsmessage.RCodeNameError} {
		names.set(code)
		start := time.Now()
		if err := dial(t, d, address); err != nil {
			t.Errorf("%v: %v", code, err)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("%v: took %s", code, took)
		}
	}
}

func TestRequestLimit(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	limited, stop := limitWait(ctx, cancel)
	limit := limited.Value(requestLimitKey{}).(*requestLimit)
	limit.end = time.Now().Add(-time.Hour)
	bearWith(limited, time.Hour+50*time.Millisecond)
	<-limited.Done()
	if !errors.Is(context.Cause(ctx), errTimeout) {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	stop()

	ctx, cancel = context.WithCancelCause(t.Context())
	defer cancel(nil)
	limited, stop = limitWait(ctx, cancel)
	stop()
	bearWith(limited, -time.Hour) // too late to end what has been answered
	bearWith(t.Context(), time.Hour)
	if ctx.Err() != nil {
		t.Errorf("it ended: %v", context.Cause(ctx))
	}
}

func TestTransportUsesProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	transport, err := newTransport(Location{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if transport.Proxy == nil || !transport.TLSClientConfig.InsecureSkipVerify || transport.DialContext == nil {
		t.Errorf("%+v", transport)
	}
	if _, err := newTransport(Location{CACert: []byte("x")}, false); err == nil {
		t.Error("no error for a certificate that is none")
	}
}

package testenv

import (
	"context"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	gcsStartTimeout = 2 * time.Minute
	// gcsTokenLifetime is Google's.
	gcsTokenLifetime = time.Hour
)

// GCSOptions say how to start a GCS server.
type GCSOptions struct {
	// Root is the server's own folder, made if it is missing: credentials, log. It
	// keeps objects in memory only.
	Root string
	// Listen is host:port; the port may be 0. Default 127.0.0.1:0.
	Listen string
	// TLS makes it serve https, with a certificate for the host of Listen from a
	// CA of its own.
	TLS bool
	// TokenLifetime is how long its access tokens are good for; an hour if zero.
	TokenLifetime time.Duration
}

// GCSServer is a fake-gcs-server that runs, behind a front that does what that
// server leaves out: it asks for credentials, keeps what object retention
// protects, and puts parts of an upload that are sent again where they belong. The
// front ends with this process.
type GCSServer struct {
	*serverProcess
	// URL is its endpoint, without a slash at its end.
	URL string
	// TokenURL is where identities are exchanged for access tokens.
	TokenURL string
	// DirectURL is the endpoint without the front.
	DirectURL string
	// CACert is the PEM of the CA to trust; nil for http.
	CACert []byte
	// CredentialsFile is the key file of a service account that may do everything.
	CredentialsFile string

	front  *gcsFront
	server *http.Server
}

// StartGCS builds the server if that is needed, starts it and returns when it
// answers. ctx bounds only that.
func StartGCS(ctx context.Context, o GCSOptions) (*GCSServer, error) {
	binary, err := tool{name: "fake-gcs-server", module: "testdata/stores/gcs", pkg: "github.com/fsouza/fake-gcs-server"}.ensure(ctx)
	if err != nil {
		return nil, err
	}
	return startAt(o.Listen, func() (*GCSServer, error) { return startGCS(ctx, binary, o) })
}

func startGCS(ctx context.Context, binary string, o GCSOptions) (*GCSServer, error) {
	s, err := newGCSServer(&o)
	if err != nil {
		return nil, fmt.Errorf("set up GCS server in %s: %w", o.Root, err)
	}
	if err := s.start(ctx, binary, o); err != nil {
		return nil, err
	}
	return s, nil
}

// newGCSServer lays out the folder and fills in the defaults.
func newGCSServer(o *GCSOptions) (*GCSServer, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	o.Root = root
	if o.TokenLifetime == 0 {
		o.TokenLifetime = gcsTokenLifetime
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Listen, err = freePort(o.Listen); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	s := &GCSServer{URL: "http://" + o.Listen, CredentialsFile: filepath.Join(root, "key.json")}
	if o.TLS {
		s.URL = "https://" + o.Listen
		if s.CACert, err = writeCertificates(root, o.Listen); err != nil {
			return nil, err
		}
	}
	s.TokenURL = s.URL + gcsTokenPath
	return s, nil
}

func (s *GCSServer) start(ctx context.Context, binary string, o GCSOptions) error {
	backend, err := freePort("127.0.0.1:0")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(backend)
	if err != nil {
		return err
	}
	s.DirectURL = "http://" + backend
	s.serverProcess, err = serverCommand{
		name:    "GCS server",
		program: binary,
		args:    []string{"-scheme", "http", "-host", host, "-port", port, "-public-host", backend, "-backend", "memory", "-log-level", "error"},
		root:    o.Root,
		listen:  backend,
		ready:   gcsStartTimeout,
	}.start(ctx)
	if err != nil {
		return err
	}
	if err := s.serveFront(o); err != nil {
		return errors.Join(fmt.Errorf("start GCS server at %s: %w", o.Listen, err), s.serverProcess.Stop())
	}
	return nil
}

func (s *GCSServer) serveFront(o GCSOptions) error {
	key, err := WriteGoogleKey(s.CredentialsFile, s.TokenURL)
	if err != nil {
		return err
	}
	s.front, err = newGCSFront(s.DirectURL, []*rsa.PublicKey{key}, o.TokenLifetime)
	if err != nil {
		return err
	}
	s.server = &http.Server{Handler: s.front, ErrorLog: log.New(io.Discard, "", 0)}
	listener, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return err
	}
	if !o.TLS {
		go s.server.Serve(listener) // ends with Stop
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(o.Root, certificateFile), filepath.Join(o.Root, keyFile))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	go s.server.ServeTLS(listener, "", "") // ends with Stop
	return nil
}

// Stop ends the server and its front; one that has ended is fine.
func (s *GCSServer) Stop() error {
	return errors.Join(s.server.Close(), s.serverProcess.Stop())
}

// Kill ends the server and its front as a crash would.
func (s *GCSServer) Kill() error {
	return errors.Join(s.server.Close(), s.serverProcess.Kill())
}

// RevokeTokens makes every access token worthless that it has given out.
func (s *GCSServer) RevokeTokens() { s.front.revoke() }

// TokensGiven says how many access tokens it has given out.
func (s *GCSServer) TokensGiven() int { return s.front.given() }

// Trust makes it take a token of another issuer, as workload identity federation
// does, in exchange for one of its own.
func (s *GCSServer) Trust(subjectToken string) { s.front.trust(subjectToken) }

// IssueToken gives an access token, as a metadata server would.
func (s *GCSServer) IssueToken() string { return s.front.issue() }

// Grant leaves the account no rights but these, such as "storage.objects.get".
func (s *GCSServer) Grant(rights ...string) { s.front.grant(rights) }

// OpenUploads lists the objects whose upload was begun and neither completed nor
// aborted.
func (s *GCSServer) OpenUploads() []string { return s.front.openUploads() }

// CreateBucket makes a bucket; one that is there is fine. versions makes it keep
// what is replaced or deleted.
func (s *GCSServer) CreateBucket(ctx context.Context, name string, versions bool) error {
	client, err := s.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	bucket := client.Bucket(name)
	if _, err := bucket.Attrs(ctx); err == nil {
		return nil
	}
	if err := bucket.Create(ctx, "testbed", &storage.BucketAttrs{VersioningEnabled: versions}); err != nil {
		return fmt.Errorf("create bucket %q at %s: %w", name, s.DirectURL, err)
	}
	return nil
}

// Retain protects an object, by its whole name, until then.
func (s *GCSServer) Retain(ctx context.Context, bucket, name string, until time.Time) error {
	client, err := s.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Bucket(bucket).Object(name).Update(ctx, storage.ObjectAttrsToUpdate{
		Retention: &storage.ObjectRetention{Mode: "Unlocked", RetainUntil: until},
	})
	if err != nil {
		return fmt.Errorf("retain object %q in bucket %q at %s: %w", name, bucket, s.DirectURL, err)
	}
	return nil
}

// Location is the bucket as a storage location.
func (s *GCSServer) Location(bucket, prefix string) store.Location {
	return store.Location{
		Provider:        "gcp",
		Bucket:          bucket,
		Prefix:          prefix,
		Config:          map[string]string{"storeEndpoint": s.URL},
		CACert:          s.CACert,
		CredentialsFile: s.CredentialsFile,
	}
}

// client goes past the front.
func (s *GCSServer) client(ctx context.Context) (*storage.Client, error) {
	return storage.NewClient(ctx,
		option.WithEndpoint(s.DirectURL+"/storage/v1/"),
		option.WithHTTPClient(&http.Client{}),
		option.WithoutAuthentication(),
		storage.WithJSONReads(),
	)
}

// GCS returns a bucket of the test's own, as a storage location. The server is
// shared by the test binary, and ends with Main.
func GCS(tb testing.TB) store.Location {
	tb.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.gcs == nil {
		dir, err := os.MkdirTemp("", "testenv-")
		if err != nil {
			tb.Fatal(err)
		}
		server, err := StartGCS(tb.Context(), GCSOptions{Root: dir})
		if err != nil {
			tb.Fatalf("%v", err)
		}
		running.gcs = server
		running.cleanups = append(running.cleanups, server.Stop, func() error { return os.RemoveAll(dir) })
	}
	running.buckets++
	bucket := fmt.Sprintf("test-%d", running.buckets)
	if err := running.gcs.CreateBucket(tb.Context(), bucket, false); err != nil {
		tb.Fatal(err)
	}
	return running.gcs.Location(bucket, "")
}

// objectPath is where the JSON API has an object.
func objectPath(bucket, name string) string {
	return "/storage/v1/b/" + url.PathEscape(bucket) + "/o/" + strings.ReplaceAll(url.PathEscape(name), "+", "%2B")
}

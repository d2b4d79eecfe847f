package testenv

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	s3StartTimeout = 2 * time.Minute
	s3Region       = "us-east-1"
)

// S3Domain is the domain below which the buckets of an S3 server are hosts, for
// test binaries that call ResolveNames.
const S3Domain = "s3.test"

// KMSKey is the name of the key that MinIO encrypts with.
const KMSKey = "testbed"

// S3Program is a program that serves S3.
type S3Program string

// The programs.
const (
	Versity S3Program = "versitygw"
	MinIO   S3Program = "minio"
)

// StartOptions say how to start an S3 server.
type StartOptions struct {
	// Program defaults to Versity.
	Program S3Program
	// Root is the server's own folder, made if it is missing: buckets, keys,
	// log. Starting on the same one again serves what is there.
	Root string
	// Listen is host:port; the port may be 0. Default 127.0.0.1:0.
	Listen string
	// TLS makes it serve https, with a certificate for the host of Listen
	// from a CA of its own.
	TLS bool
	// Versions lets Versity's buckets keep versions and lock objects; MinIO's
	// always may.
	Versions bool
	// Users lets Versity have users of its own, which its admin API makes; MinIO
	// always may.
	Users bool
	// AccessKey and SecretKey are made up if empty.
	AccessKey, SecretKey string
	// Env is added to the environment of the server, Args to its arguments.
	Env, Args []string
	// PIDFile, if not empty, gets the process id, and the server outlives
	// this process; StopS3 ends it. Else it ends with this process at the
	// latest.
	PIDFile string
}

// S3Server is an S3 server that runs. It is stopped with Stop or Kill.
type S3Server struct {
	*serverProcess
	// Program is what runs.
	Program S3Program
	// URL is its endpoint, without a slash at its end; HostsURL the one below
	// which buckets are hosts.
	URL, HostsURL        string
	AccessKey, SecretKey string
	// CACert is the PEM of the CA to trust; nil for http.
	CACert []byte
	// CredentialsFile is an AWS credentials file with the keys.
	CredentialsFile string

	root string
}

// StartS3 builds the server if that is needed, starts it and returns when it
// answers. ctx bounds only that.
func StartS3(ctx context.Context, o StartOptions) (*S3Server, error) {
	if o.Program == "" {
		o.Program = Versity
	}
	binary, err := o.Program.binary(ctx)
	if err != nil {
		return nil, err
	}
	return startAt(o.Listen, func() (*S3Server, error) { return startS3(ctx, binary, o) })
}

func startS3(ctx context.Context, binary string, o StartOptions) (*S3Server, error) {
	s, err := newS3Server(&o)
	if err != nil {
		return nil, fmt.Errorf("set up S3 server in %s: %w", o.Root, err)
	}
	command := s.versity(o)
	if o.Program == MinIO {
		command = s.minio(o)
	}
	command.name, command.program, command.root, command.listen = "S3 server", binary, s.root, o.Listen
	command.pidFile, command.ready = o.PIDFile, s3StartTimeout
	command.env = append(command.env, o.Env...)
	if s.serverProcess, err = command.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// StopS3 ends the server that StartS3 left behind with this PIDFile, and
// removes the file. It makes sure that the process is a Versity; a file or a
// process that isn't there is fine.
func StopS3(pidFile string) error {
	if err := stopByPIDFile(pidFile, string(Versity)); err != nil {
		return fmt.Errorf("stop S3 server: %w", err)
	}
	return nil
}

func (p S3Program) binary(ctx context.Context) (string, error) {
	if p == MinIO {
		return tool{name: string(p), module: "testdata/stores/minio", pkg: "github.com/minio/minio"}.ensure(ctx)
	}
	return tool{name: string(p), module: "testdata/stores", pkg: "github.com/versity/versitygw/cmd/versitygw"}.ensure(ctx)
}

// newS3Server lays out the folder and fills in the defaults.
func newS3Server(o *StartOptions) (*S3Server, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	if o.AccessKey == "" {
		o.AccessKey, o.SecretKey = "testbed", rand.Text()
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Listen, err = freePort(o.Listen); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, err
	}
	s := &S3Server{
		Program:         o.Program,
		URL:             "http://" + o.Listen,
		HostsURL:        "http://" + net.JoinHostPort(S3Domain, port),
		AccessKey:       o.AccessKey,
		SecretKey:       o.SecretKey,
		CredentialsFile: filepath.Join(root, "credentials"),
		root:            root,
	}
	for _, dir := range []string{s.buckets(), s.versions(), s.users()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	if o.TLS {
		s.URL, s.HostsURL = "https://"+o.Listen, "https://"+net.JoinHostPort(S3Domain, port)
		if s.CACert, err = writeCertificates(root, o.Listen, S3Domain, "*."+S3Domain); err != nil {
			return nil, err
		}
	}
	return s, WriteCredentials(s.CredentialsFile, s.AccessKey, s.SecretKey)
}

func (s *S3Server) buckets() string  { return filepath.Join(s.root, "buckets") }
func (s *S3Server) versions() string { return filepath.Join(s.root, "versions") }
func (s *S3Server) users() string    { return filepath.Join(s.root, "users") }

func (s *S3Server) versity(o StartOptions) serverCommand {
	args := []string{"--port", o.Listen, "--quiet", "--virtual-domain", S3Domain}
	if o.TLS {
		args = append(args, "--cert", filepath.Join(s.root, certificateFile), "--key", filepath.Join(s.root, keyFile))
	}
	if o.Users {
		args = append(args, "--iam-dir", s.users())
	}
	args = append(append(args, o.Args...), "posix")
	if o.Versions {
		args = append(args, "--versioning-dir", s.versions())
	}
	return serverCommand{
		args: append(args, s.buckets()),
		env:  []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey},
	}
}

func (s *S3Server) minio(o StartOptions) serverCommand {
	certs := filepath.Join(s.root, "none")
	if o.TLS {
		certs = s.root
	}
	args := append([]string{"server", "--quiet", "--certs-dir", certs, "--address", o.Listen}, o.Args...)
	return serverCommand{
		args: append(args, s.buckets()),
		env: []string{
			"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
			"MINIO_DOMAIN=" + S3Domain, "MINIO_BROWSER=off", "MINIO_UPDATE=off",
			// A key for SSE-S3 and SSE-KMS: 32 bytes in base64.
			"MINIO_KMS_SECRET_KEY=" + KMSKey + ":AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		},
		answers: s.minioAnswers,
	}
}

// minioAnswers asks for more than a connection: MinIO listens before it serves.
func (s *S3Server) minioAnswers(ctx context.Context) error {
	client, err := trusting(s.CACert)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/minio/health/cluster", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// WriteCredentials writes an AWS credentials file with one profile, default.
func WriteCredentials(path, accessKey, secretKey string) error {
	body := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey)
	return os.WriteFile(path, []byte(body), 0o600)
}

// Location is the bucket as a storage location.
func (s *S3Server) Location(bucket, prefix string) store.Location {
	return store.Location{
		Provider:        "aws",
		Bucket:          bucket,
		Prefix:          prefix,
		Config:          map[string]string{"s3Url": s.URL, "region": s3Region, "s3ForcePathStyle": "true"},
		CACert:          s.CACert,
		CredentialsFile: s.CredentialsFile,
	}
}

// HostLocation is Location with the bucket as a host of its own.
func (s *S3Server) HostLocation(bucket, prefix string) store.Location {
	l := s.Location(bucket, prefix)
	l.Config["s3Url"], l.Config["s3ForcePathStyle"] = s.HostsURL, "false"
	return l
}

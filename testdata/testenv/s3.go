package testenv

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	s3StartTimeout = 10 * time.Second
	s3StopTimeout  = 5 * time.Second
	s3Region       = "us-east-1"
)

// StartOptions say how to start an S3 server.
type StartOptions struct {
	// Root is the server's own folder, made if it is missing: buckets, keys,
	// log. Starting on the same one again serves what is there.
	Root string
	// Listen is host:port; the port may be 0. Default 127.0.0.1:0.
	Listen string
	// TLS makes it serve https, with a certificate for the host of Listen
	// from a CA of its own.
	TLS bool
	// AccessKey and SecretKey are made up if empty.
	AccessKey, SecretKey string
	// PIDFile, if not empty, gets the process id, and the server outlives
	// this process; StopS3 ends it. Else it ends with this process at the
	// latest.
	PIDFile string
}

// S3Server is a versitygw that runs.
type S3Server struct {
	// URL is its endpoint, without a slash at its end.
	URL                  string
	AccessKey, SecretKey string
	// CACert is the PEM of the CA to trust; nil for http.
	CACert []byte
	// CredentialsFile is an AWS credentials file with the keys.
	CredentialsFile string
	// PID is its process id.
	PID int

	root   string
	exited chan struct{} // closed when the process has ended; nil if it isn't our child
}

// StartS3 builds the server if that is needed, starts it and returns when it
// answers. ctx bounds only that.
func StartS3(ctx context.Context, o StartOptions) (*S3Server, error) {
	binary, err := tool{name: "versitygw", module: "testdata/stores", pkg: "github.com/versity/versitygw/cmd/versitygw"}.ensure(ctx)
	if err != nil {
		return nil, err
	}
	s, err := newS3Server(&o)
	if err != nil {
		return nil, fmt.Errorf("set up S3 server in %s: %w", o.Root, err)
	}
	if err := s.start(ctx, binary, o); err != nil {
		return nil, fmt.Errorf("start S3 server at %s: %w", o.Listen, err)
	}
	return s, nil
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
	s := &S3Server{
		URL:             "http://" + o.Listen,
		AccessKey:       o.AccessKey,
		SecretKey:       o.SecretKey,
		CredentialsFile: filepath.Join(root, "credentials"),
		root:            root,
	}
	if err := os.MkdirAll(filepath.Join(root, "buckets"), 0o755); err != nil {
		return nil, err
	}
	if o.TLS {
		s.URL = "https://" + o.Listen
		if s.CACert, err = writeCertificates(root, o.Listen); err != nil {
			return nil, err
		}
	}
	return s, WriteCredentials(s.CredentialsFile, s.AccessKey, s.SecretKey)
}

// freePort replaces port 0 by a port that is free now.
func freePort(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port != "0" {
		return listen, err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return "", err
	}
	defer l.Close()
	return net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), nil
}

// WriteCredentials writes an AWS credentials file with one profile, default.
func WriteCredentials(path, accessKey, secretKey string) error {
	body := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", accessKey, secretKey)
	return os.WriteFile(path, []byte(body), 0o600)
}

func (s *S3Server) start(ctx context.Context, binary string, o StartOptions) error {
	log, err := os.OpenFile(filepath.Join(s.root, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"--port", o.Listen, "--quiet"}
	if o.TLS {
		args = append(args, "--cert", filepath.Join(s.root, certificateFile), "--key", filepath.Join(s.root, keyFile))
	}
	args = append(args, "posix", filepath.Join(s.root, "buckets"))
	server := exec.Command(binary, args...)
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	server.Stdout, server.Stderr = log, log
	server.Dir = s.root
	server.SysProcAttr = processAttributes(o.PIDFile != "")
	if err := server.Start(); err != nil {
		return err
	}
	s.PID = server.Process.Pid
	s.exited = make(chan struct{})
	go func() {
		defer close(s.exited)
		_ = server.Wait() // its log says more
	}()
	if o.PIDFile != "" {
		if err := os.WriteFile(o.PIDFile, []byte(strconv.Itoa(s.PID)+"\n"), 0o644); err != nil {
			return errors.Join(err, s.Stop())
		}
	}
	if err := s.waitReady(ctx, o.Listen); err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

func (s *S3Server) waitReady(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, s3StartTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it exited; hint: see %s", filepath.Join(s.root, "log"))
		case <-ctx.Done():
			return fmt.Errorf("it doesn't answer: %w; hint: see %s", err, filepath.Join(s.root, "log"))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop ends the server; one that has ended is fine. Its folder stays.
func (s *S3Server) Stop() error { return s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *S3Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *S3Server) end(signal syscall.Signal) error {
	if err := syscall.Kill(s.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop S3 server, process %d: %w", s.PID, err)
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(s3StopTimeout):
	}
	if signal == syscall.SIGKILL {
		return fmt.Errorf("stop S3 server, process %d: it is still there", s.PID)
	}
	return s.end(syscall.SIGKILL)
}

// StopS3 ends the server that StartS3 left behind with this PIDFile, and
// removes the file. It makes sure that the process is such a server; a file
// or a process that isn't there is fine.
func StopS3(pidFile string) error {
	body, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(body[:max(0, len(body)-1)]))
	if err != nil || pid <= 1 {
		return fmt.Errorf("stop S3 server: %s holds no process id", pidFile)
	}
	if err := stopProcess(pid, "versitygw"); err != nil {
		return fmt.Errorf("stop S3 server: %w", err)
	}
	return os.Remove(pidFile)
}

// stopProcess ends a process that need not be our child.
func stopProcess(pid int, program string) error {
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}
	for _, signal := range signals {
		if !runs(pid, program) {
			return nil
		}
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d: %w", pid, err)
		}
		for end := time.Now().Add(s3StopTimeout); time.Now().Before(end) && runs(pid, program); {
			time.Sleep(20 * time.Millisecond)
		}
	}
	if runs(pid, program) {
		return fmt.Errorf("process %d is still there", pid)
	}
	return nil
}

// runs says whether the process is there and has this program; a zombie isn't
// there any more.
func runs(pid int, program string) bool {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	// A binary that was built again in the meantime is marked so.
	return err == nil && filepath.Base(strings.TrimSuffix(target, " (deleted)")) == program
}

// CreateBucket makes a bucket; one that is there is fine.
func (s *S3Server) CreateBucket(ctx context.Context, name string) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	_, err = client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	var owned *types.BucketAlreadyOwnedByYou
	if err != nil && !errors.As(err, &owned) {
		return fmt.Errorf("create bucket %q at %s: %w", name, s.URL, err)
	}
	return nil
}

// Uploads lists the keys of the bucket's unfinished multipart uploads.
func (s *S3Server) Uploads(ctx context.Context, bucket string) ([]string, error) {
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	out, err := client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		return nil, fmt.Errorf("list uploads in bucket %q at %s: %w", bucket, s.URL, err)
	}
	var keys []string
	for _, u := range out.Uploads {
		keys = append(keys, aws.ToString(u.Key))
	}
	return keys, nil
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

func (s *S3Server) client() (*s3.Client, error) {
	httpClient, err := trusting(s.CACert)
	if err != nil {
		return nil, err
	}
	return s3.New(s3.Options{
		BaseEndpoint: &s.URL,
		Region:       s3Region,
		UsePathStyle: true,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:   httpClient,
	}), nil
}

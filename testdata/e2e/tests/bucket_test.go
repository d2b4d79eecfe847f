//go:build e2e

package tests

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/storage"
)

// open returns the bucket of the tests' default location, seen from this machine.
func (s *session) open() store.Bucket {
	s.t.Helper()
	credentials := filepath.Join(s.t.TempDir(), "credentials")
	s.check(s.s3.WriteCredentials(credentials))
	opened, err := store.Open(s.t.Context(), store.Location{
		Provider: "aws", Bucket: bucket, CredentialsFile: credentials,
		Config: map[string]string{"region": storage.Region, "s3ForcePathStyle": "true", "s3Url": s.endpoint()},
	})
	s.check(err)
	return opened
}

var forwarded = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)

// endpoint is the S3 server's URL for this machine; a server in the cluster is
// forwarded to for as long as the test runs.
func (s *session) endpoint() string {
	s.t.Helper()
	if s.s3.HostEndpoint != "" {
		return s.s3.HostEndpoint
	}
	cmd := exec.CommandContext(s.t.Context(), "kubectl", "-n", storage.InClusterNamespace, "port-forward", "service/s3", ":7070")
	cmd.Env = s.c.Env
	out, err := cmd.StdoutPipe()
	s.check(err)
	s.check(cmd.Start())
	s.t.Cleanup(func() { _ = cmd.Wait() }) // killed by the end of the test's context
	line, err := bufio.NewReader(out).ReadString('\n')
	s.check(err)
	match := forwarded.FindStringSubmatch(line)
	if match == nil {
		s.t.Fatalf("port-forward said %q", line)
	}
	return "http://" + match[1]
}

// keys lists the bucket below a prefix, sorted.
func (s *session) keys(prefix string) []string {
	s.t.Helper()
	var keys []string
	for object, err := range s.open().List(s.t.Context(), prefix) {
		s.check(err)
		keys = append(keys, object.Key)
	}
	slices.Sort(keys)
	return keys
}

// object reads one object; a name that ends in gz is unpacked.
func (s *session) object(key string) []byte {
	s.t.Helper()
	body, err := s.open().Get(s.t.Context(), key)
	s.check(err)
	defer func() { _ = body.Close() }() // only read
	var reader io.Reader = body
	if strings.HasSuffix(key, "gz") {
		reader, err = gzip.NewReader(body)
		s.check(err)
	}
	text, err := io.ReadAll(reader)
	s.check(err)
	return text
}

// decode reads one object as exactly one JSON value.
func (s *session) decode(key string, value any) {
	s.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(s.object(key)))
	if err := decoder.Decode(value); err != nil {
		s.t.Errorf("%s: %v", key, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		s.t.Errorf("%s: more than one value: %v", key, err)
	}
}

//go:build e2e

package tests

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDownloadOverACutConnection cuts the connection to the API server, over
// which a download comes, in its middle: it must go on where it was.
func TestDownloadOverACutConnection(t *testing.T) {
	s := start(t)
	place := unique("bulk")
	s.must("kubectl", "create", "namespace", place)
	s.after("kubectl", "delete", "namespace", place, "--wait=false")
	for n := range 8 {
		noise := make([]byte, 600<<10)
		_, err := rand.Read(noise)
		s.check(err)
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bulk-%d", n)}, Data: map[string]string{"noise": base64.StdEncoding.EncodeToString(noise)}}
		_, err = s.kube.CoreV1().ConfigMaps(place).Create(t.Context(), object, metav1.CreateOptions{})
		s.check(err)
	}
	name := unique("bulk")
	s.backup(name, place)
	whole := s.raw("backups/" + name + "/" + name + ".tar.gz")

	server, err := url.Parse(s.config.Host)
	s.check(err)
	cutter := s.newCutter(server.Host, int64(len(whole)/3))
	file := filepath.Join(t.TempDir(), "bulk.tar.gz")
	s.exits(0, "kubectl", "velero", "backup", "download", name, "-o", file,
		"--server", "https://"+cutter.address, "--tls-server-name", server.Hostname())
	s.sameFile(file, whole)
	if cutter.cuts.Load() < mostCuts {
		t.Errorf("%d connections were cut while %d bytes came", cutter.cuts.Load(), len(whole))
	}
	if strings.Contains(s.must("kubectl", "velero", "backup", "verify", name), "broken") {
		t.Error("the backup is broken")
	}
}

// cutter hands connections on, and cuts the first few that have brought so many
// bytes.
type cutter struct {
	address string
	target  string
	after   int64
	cuts    atomic.Int32
	running sync.WaitGroup
}

const mostCuts = 2

func (s *session) newCutter(target string, after int64) *cutter {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	s.check(err)
	c := &cutter{address: listener.Addr().String(), target: target, after: after}
	c.running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			c.running.Go(func() { c.serve(client) })
		}
	})
	s.t.Cleanup(func() { _ = listener.Close() })
	return c
}

func (c *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, client) }() // ends with either connection
	if n, _ := io.CopyN(client, server, c.after); n < c.after {
		return // it ended by itself
	}
	if c.cuts.Add(1) > mostCuts {
		_, _ = io.Copy(client, server)
	}
}

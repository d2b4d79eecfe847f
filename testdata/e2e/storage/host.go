package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// Host is an S3 server on this machine that outlives the process that starts it.
type Host struct {
	// Folder is its own: record, log, data.
	Folder string
}

func (h Host) record() string  { return filepath.Join(h.Folder, "server.json") }
func (h Host) pidFile() string { return filepath.Join(h.Folder, "versitygw.pid") }

// Start starts the server on address, anew if it runs. Where the folder has an
// earlier one's record, its keys and buckets stay, and its port on the same
// address, so that what was told of them to a cluster holds.
func (h Host) Start(ctx context.Context, address, bucket string) (Server, error) {
	server := h.earlier(bucket)
	if err := os.MkdirAll(h.Folder, 0o755); err != nil {
		return Server{}, err
	}
	if err := testenv.StopS3(h.pidFile()); err != nil {
		return Server{}, err
	}
	running, err := testenv.StartS3(ctx, testenv.StartOptions{
		Root: filepath.Join(h.Folder, "s3"), Listen: listen(server, address), PIDFile: h.pidFile(),
		AccessKey: server.AccessKey, SecretKey: server.SecretKey,
	})
	if err != nil {
		return Server{}, err
	}
	server.Endpoint, server.HostEndpoint = running.URL, running.URL
	text, err := json.Marshal(server)
	if err != nil {
		return Server{}, err
	}
	if err := os.WriteFile(h.record(), text, 0o600); err != nil {
		return Server{}, fmt.Errorf("keep the record of the S3 server: %w", err)
	}
	return server, running.CreateBucket(ctx, bucket)
}

// Stop ends the server, and removes its folder with all buckets. One that
// doesn't run is fine.
func (h Host) Stop() error {
	if err := testenv.StopS3(h.pidFile()); err != nil {
		return err
	}
	return os.RemoveAll(h.Folder)
}

// Remove removes a folder of the bucket behind the server's back, which with its
// posix backend is a folder on disk.
func (h Host) Remove(bucket, prefix string) error {
	return os.RemoveAll(filepath.Join(h.Folder, "s3", "buckets", bucket, filepath.FromSlash(prefix)))
}

// earlier returns the recorded server if it had the bucket, for its keys own
// that; a record that can't be read counts as none.
func (h Host) earlier(bucket string) Server {
	var kept Server
	text, err := os.ReadFile(h.record())
	if err != nil || json.Unmarshal(text, &kept) != nil || kept.Bucket != bucket {
		return newServer(bucket)
	}
	return kept
}

// listen is where the server was, if that is on the address, else a free port.
func listen(s Server, address string) string {
	if parsed, err := url.Parse(s.Endpoint); err == nil && parsed.Hostname() == address {
		return parsed.Host
	}
	return net.JoinHostPort(address, "0")
}

package store

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestStallConn(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	conn := &stallConn{Conn: client, timeout: timeout}

	// Reading waits for the answer while writing goes on for longer than the
	// timeout; then the other side falls silent.
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		answer <- err
	}()
	go func() {
		buffer := make([]byte, 1)
		for range 5 {
			time.Sleep(timeout / 3)
			if _, err := server.Read(buffer); err != nil {
				return
			}
		}
	}()
	start := time.Now()
	for range 5 {
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-answer:
		t.Errorf("reading ended after %s while data moved: %v", time.Since(start), err)
	default:
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a silent peer: %v", err)
	}
	if err := <-answer; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read from a silent peer: %v", err)
	}
}

package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopByPIDFile ends the server that serverCommand left behind with this file, and
// removes the file. It makes sure that the process is one of this program; a file
// or a process that isn't there is fine.
func stopByPIDFile(pidFile, program string) error {
	body, err := os.ReadFile(pidFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s holds no process id", pidFile)
	}
	if err := stopProcess(pid, program); err != nil {
		return err
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
		for end := time.Now().Add(serverStopTimeout); time.Now().Before(end) && runs(pid, program); {
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

// freePort replaces port 0 by a port that is free now. It is one that the kernel
// gives to no outgoing connection, which could take it before the server does.
func freePort(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port != "0" {
		return listen, err
	}
	for range portTries {
		candidate := net.JoinHostPort(host, strconv.Itoa(firstPort+rand.IntN(firstOutgoingPort()-firstPort)))
		l, err := net.Listen("tcp", candidate)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return candidate, l.Close()
	}
	return "", fmt.Errorf("no port is free at %s", host)
}

const (
	portTries = 100
	firstPort = 10240
	// usualOutgoingPort is where Linux' ports for outgoing connections begin.
	usualOutgoingPort = 32768
)

// firstOutgoingPort is the first port that the kernel may give to an outgoing
// connection.
func firstOutgoingPort() int {
	body, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return usualOutgoingPort
	}
	var first int
	if _, err := fmt.Sscan(string(body), &first); err != nil || first <= firstPort {
		return usualOutgoingPort
	}
	return first
}

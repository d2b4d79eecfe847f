package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
)

// HoldCommand is the command of this program that calls Hold.
const HoldCommand = "hold"

// A full cluster lives in a network and a mount namespace of its own. They
// last as long as a process is in them; the first one, the holder, does
// nothing else. So kube-proxy's rules and the mounts of pods never show on the
// machine, and they vanish with the processes, however these end.
//
// The mount namespace shows the machine's files, but each of PrivateDirs there
// is a folder of the cluster's: the places that containerd, CNI and kubelet use
// on every machine, whatever they are told.
func PrivateDirs() []string {
	return []string{
		"/run/containerd",
		"/var/lib/containerd",
		"/var/lib/cni",
		"/var/lib/kubelet",
		"/var/log/containers",
		"/var/log/pods",
	}
}

// PrivatePath returns the path, as the machine sees it, of what the cluster
// sees below one of PrivateDirs; root is the folder that holds them all.
func PrivatePath(root, path string) string { return filepath.Join(root, path) }

// Holder starts the process that holds a cluster's namespaces; self is the
// path of this program, root holds the private folders. The namespaces are
// complete when the file ready appears.
func Holder(self, root, ready, log string) (process.Command, error) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return process.Command{}, fmt.Errorf("find unshare (package util-linux): %w", err)
	}
	return process.Command{
		Name: "namespaces",
		Path: unshare,
		Args: []string{"--net", "--mount", "--propagation", "slave", "--", self, HoldCommand, root, ready},
		Dir:  "/",
		Log:  log,
	}, nil
}

// Hold completes the namespaces that the process was started in and creates
// the file ready. The caller then stays for as long as they are needed.
func Hold(root, ready string) error {
	// Mounts made in here reach the pods that ask for it, but not the machine.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts within the namespace: %w", err)
	}
	for _, dir := range PrivateDirs() {
		source := PrivatePath(root, dir)
		if err := unix.Mount(source, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s over %s: %w", source, dir, err)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets of pods: %w", err)
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return fmt.Errorf("tell that the namespaces are ready: %w", err)
	}
	return nil
}

// Enter returns the start of a command line that runs what follows it in the
// namespaces of process pid. The process id stays that of the command.
func Enter(pid int) []string {
	return []string{"nsenter", "--target", strconv.Itoa(pid), "--net", "--mount", "--"}
}

// Inhabitants lists the processes in the network or the mount namespace of
// process pid, itself among them but the caller left out. A namespace that is
// the caller's or the machine's own doesn't count: the holder is in those for a
// moment, before it has made its own.
func Inhabitants(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	network, mounts := privateNamespace(pid, "net"), privateNamespace(pid, "mnt")
	var pids []int
	for _, e := range entries {
		other, err := strconv.Atoi(e.Name())
		if err != nil || other == os.Getpid() {
			continue
		}
		if network != "" && namespace(other, "net") == network || mounts != "" && namespace(other, "mnt") == mounts {
			pids = append(pids, other)
		}
	}
	return pids, nil
}

// privateNamespace names a process's namespace unless it is the caller's, or
// that of the machine's first process; empty if there is no such one.
func privateNamespace(pid int, kind string) string {
	name := namespace(pid, kind)
	if name == namespace(os.Getpid(), kind) || name == namespace(1, kind) {
		return ""
	}
	return name
}

// namespace names a process's namespace; empty if the process has ended.
func namespace(pid int, kind string) string {
	name, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
	if err != nil {
		return ""
	}
	return name
}

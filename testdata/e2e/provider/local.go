package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
)

// bed is the command of the test-bed's local cluster.
type bed struct {
	o      Options
	binary string
}

func newBed(o Options) bed { return bed{o: o, binary: filepath.Join(o.Tree.Bin(), "cluster")} }

func (b bed) String() string { return fmt.Sprintf("local cluster %q", b.o.Name) }

// build builds the command; what it runs is built by the command itself.
func (b bed) build(ctx context.Context) error {
	return b.o.Tree.Build(ctx, b.o.Tree.Path("testdata", "cluster"), ".", b.binary)
}

// ErrNotHere is returned where a local cluster can't run on this machine.
var ErrNotHere = errors.New("a local cluster can't run here")

// here says why a local cluster can't run on this machine, if it can't.
func here() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("%w: it needs Linux, this is %s", ErrNotHere, runtime.GOOS)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: network and mount namespaces need root\nhint: run it with sudo, or set KUBECONFIG and IMAGE_REPO", ErrNotHere)
	}
	return nil
}

// local starts the test-bed's cluster of the name, or takes the running one.
func local(ctx context.Context, o Options) (*Cluster, error) {
	if err := here(); err != nil {
		return nil, err
	}
	b := newBed(o)
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	var with []string
	if o.CSI {
		with = []string{"--csi"}
	}
	if err := b.tell(ctx, append([]string{"build"}, with...)...); err != nil {
		return nil, err
	}
	if o.CSIData != "" {
		with = append(with, "--csi-data", o.CSIData)
	}
	if err := b.tell(ctx, append([]string{"up", "--name", o.Name}, with...)...); err != nil {
		return nil, err
	}
	status, err := b.status(ctx)
	if err != nil {
		return nil, err
	}
	return &Cluster{
		Kind: Local, Name: b.String(), Kubeconfig: status.Kubeconfig, HostAddress: status.HostAddress,
		RegistryConfig: status.RegistryConfig, CSI: status.CSI,
		load: b.load, down: b.down,
	}, nil
}

func (b bed) down(ctx context.Context) error { return b.tell(ctx, "down", "--name", b.o.Name) }

// bedStatus is what of `cluster status -o json` is used.
type bedStatus struct {
	Kubeconfig  string `json:"kubeconfig"`
	HostAddress string `json:"hostAddress"`
	// RegistryConfig is a folder in the form of containerd's certs.d.
	RegistryConfig string `json:"registryConfig"`
	CSI            *CSI   `json:"csi"`
}

func (b bed) status(ctx context.Context) (bedStatus, error) {
	var status bedStatus
	output, err := b.command(ctx, "status", "--name", b.o.Name, "-o", "json").Output()
	if err != nil {
		return status, fmt.Errorf("cluster status: %w", err)
	}
	return status, json.Unmarshal(output, &status)
}

func (b bed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.binary, args...)
	cmd.Env = append(os.Environ(), "TESTBED_STATE="+b.o.Tree.State)
	cmd.Dir = b.o.Tree.Root
	// It is interrupted, not killed, when ctx ends: `up` then ends what it has begun.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// tell prints the command, runs it, and passes its progress on.
func (b bed) tell(ctx context.Context, args ...string) error {
	cmd := b.command(ctx, args...)
	fmt.Fprintf(b.o.Out, "$ %s\n", cmd)
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(&said, b.o.Out)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

func (b bed) load(ctx context.Context, i Image) (string, error) {
	folder, err := os.MkdirTemp(b.o.Tree.State, "image-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	archive := filepath.Join(folder, "image.tar")
	if err := image.WriteArchive(archive, i.Image, i.Name); err != nil {
		return "", err
	}
	cmd := b.command(ctx, "load-image", "--name", b.o.Name, archive)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, bytes.TrimSpace(output))
	}
	return i.Name, nil
}

package testenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// csiReady is how long a driver or sidecar may take to start on a busy machine.
const csiReady = 3 * time.Minute

// csiCount tells the drivers of this test binary apart.
var csiCount atomic.Int64

// StartCSI starts a driver at the API server of this kubeconfig, which it gives
// the API of snapshots and group snapshots. All that it starts ends with the test
// or the test binary.
func StartCSI(tb testing.TB, kubeconfig string, options CSIOptions) *CSI {
	tb.Helper()
	c, err := newCSI(tb.Context(), kubeconfig, options)
	if err != nil {
		tb.Fatalf("start a CSI driver: %v", err)
	}
	// The test's context has ended then.
	tb.Cleanup(func() {
		if tb.Failed() {
			c.tellLogs(tb)
		}
		if err := c.close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Errorf("stop the CSI driver: %v", err)
		}
	})
	if err := errors.Join(c.makeObjects(tb.Context()), c.start(tb.Context())); err != nil {
		tb.Fatalf("start a CSI driver: %v", err)
	}
	return c
}

// newCSI makes everything that doesn't run yet.
func newCSI(ctx context.Context, kubeconfig string, options CSIOptions) (*CSI, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = -1, -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	shared, err := running.csiControllers(ctx, kubeconfig, config, options.Provisioner)
	if err != nil {
		return nil, err
	}
	// The path of a socket must be short: not a folder of the test.
	folder, err := os.MkdirTemp("", "csi-")
	if err != nil {
		return nil, err
	}
	c := &CSI{
		Driver: fmt.Sprintf("t%d.p%d.csi.kubectl-velero.io", csiCount.Add(1), os.Getpid()),
		Data:   filepath.Join(folder, "data"),
		folder: folder, bin: shared.bin, kubeconfig: kubeconfig, options: options, kube: kube, shared: shared,
	}
	if options.Storage != nil {
		c.Driver, c.Data = options.Storage.Driver, options.Storage.Data
	}
	return c, os.MkdirAll(c.Data, 0o755)
}

func (c *CSI) close(ctx context.Context) error {
	return errors.Join(c.stop(), c.removeObjects(ctx), os.RemoveAll(c.folder))
}

func (c *CSI) socket() string { return filepath.Join(c.folder, "csi.sock") }

// programs are the driver and the sidecars, in the order of their start.
func (c *CSI) programs() []serverCommand {
	dial := func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	sidecar := append(sidecarFlags(c.kubeconfig), "--csi-address="+c.socket(), "--leader-election=false")
	programs := []serverCommand{
		{name: "CSI driver", program: "driver", answers: dial, args: []string{"-name", c.Driver, "-data", c.Data, "-endpoint", c.socket()}},
		{name: "csi-snapshotter", program: "csi-snapshotter", args: sidecar},
	}
	if c.options.Provisioner {
		programs = append(programs, serverCommand{name: "csi-provisioner", program: "csi-provisioner", args: append(sidecar, "--extra-create-metadata")})
	}
	for i := range programs {
		p := &programs[i]
		p.root = filepath.Join(c.folder, p.program)
		p.listen, p.ready = c.socket(), csiReady
		p.program = filepath.Join(c.bin, p.program)
		if p.answers == nil {
			p.answers = func(context.Context) error { return nil } // it listens nowhere
		}
	}
	return programs
}

// sidecarFlags let a controller be as quick as the tests need it. Its own limit of
// five requests a second is for clusters that others share.
func sidecarFlags(kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--kube-api-qps=200", "--kube-api-burst=400",
		"--retry-interval-start=100ms", "--retry-interval-max=1s", "--v=4",
	}
}

// start starts the driver and, once it answers, its sidecars.
func (c *CSI) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, program := range c.programs() {
		if err := os.MkdirAll(program.root, 0o755); err != nil {
			return err
		}
		p, err := program.start(ctx)
		if err != nil {
			return err
		}
		c.running = append(c.running, p)
	}
	return nil
}

func (c *CSI) stop() error { return c.end((*serverProcess).Stop) }

func (c *CSI) end(how func(*serverProcess) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range c.running {
		errs = append(errs, how(p))
	}
	c.running = nil
	return errors.Join(errs...)
}

// KillDriver ends the driver as a crash does, and then csi-snapshotter and
// csi-provisioner, which don't live without it.
func (c *CSI) KillDriver(tb testing.TB) {
	tb.Helper()
	if err := c.end((*serverProcess).Kill); err != nil {
		tb.Fatal(err)
	}
}

// StartDriver starts all that KillDriver ended, with the same data.
func (c *CSI) StartDriver(tb testing.TB) {
	tb.Helper()
	if err := c.start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// RestartController kills snapshot-controller and starts it again.
func (c *CSI) RestartController(tb testing.TB) {
	tb.Helper()
	if err := c.shared.restart(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// tellLogs says what the driver and the controllers said last.
func (c *CSI) tellLogs(tb testing.TB) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range append(c.running, c.shared.processes()...) {
		tb.Logf("%s ended its log with %s", p.name, p.lastWords())
	}
}

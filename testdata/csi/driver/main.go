// Command driver is a CSI driver whose volumes are folders: with snapshots, clones,
// group snapshots, and a kubelet's node service. It keeps everything below its data
// folder, so a restart forgets nothing, writes down the calls it answers
// (calls.ndjson), and misbehaves as faults.json there asks for. Copies are not
// atomic: a snapshot of a volume that is being written is no point in time.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

// options are the driver's flags.
type options struct {
	name        string
	node        string
	data        string
	endpoint    string
	kubeletRoot string
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("driver", flag.ContinueOnError)
	flags.StringVar(&o.name, "name", "directory.csi.kubectl-velero.io", "the driver's name")
	flags.StringVar(&o.node, "node", "node1", "name of the node that it runs on")
	flags.StringVar(&o.data, "data", "", "folder of the volumes and snapshots, which is made if need be")
	flags.StringVar(&o.endpoint, "endpoint", "", "unix socket to listen at; default is where the kubelet expects it")
	flags.StringVar(&o.kubeletRoot, "kubelet-root", "", "the kubelet's folder; empty is no kubelet to register with")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.endpoint == "" && o.kubeletRoot != "" {
		o.endpoint = filepath.Join(o.kubeletRoot, "plugins", o.name, "csi.sock")
	}
	if o.data == "" || o.endpoint == "" {
		return o, errors.New("-data, and -endpoint or -kubelet-root, are needed")
	}
	return o, nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	st, err := openStore(o.data)
	if err != nil {
		return err
	}
	defer func() { _ = st.close() }() // only a lock
	d := &driver{options: o, store: st, faults: newFaults(filepath.Join(o.data, "faults.json"))}
	calls, err := openJournal(filepath.Join(o.data, "calls.ndjson"))
	if err != nil {
		return err
	}
	defer calls.close()
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(calls.record, d.faults.misbehave))
	csi.RegisterIdentityServer(server, d)
	csi.RegisterControllerServer(server, d)
	csi.RegisterGroupControllerServer(server, d)
	csi.RegisterNodeServer(server, d)
	servers := map[string]*grpc.Server{o.endpoint: server}
	if o.kubeletRoot != "" {
		register := grpc.NewServer()
		registration.RegisterRegistrationServer(register, registrar{options: o})
		servers[filepath.Join(o.kubeletRoot, "plugins_registry", o.name+"-reg.sock")] = register
	}
	return serve(ctx, servers)
}

// driver answers the calls.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedGroupControllerServer
	csi.UnimplementedNodeServer

	options options
	store   *store
	faults  *faults
}

// serve listens at unix sockets until ctx or one of the servers ends.
func serve(ctx context.Context, servers map[string]*grpc.Server) error {
	ended := make(chan error, len(servers))
	for socket, server := range servers {
		l, err := listen(socket)
		if err != nil {
			return err
		}
		defer server.Stop()
		go func() { ended <- server.Serve(l) }()
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// listen takes the place of a driver that was killed there.
func listen(socket string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", socket)
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/api"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
)

// prepareNode makes what a node stands on: control group, namespaces, network,
// configuration.
func (s *starter) prepareNode(ctx context.Context, previous *record) error {
	if err := s.group.Create(); err != nil {
		return err
	}
	if err := s.makePrivateDirs(); err != nil {
		return err
	}
	registry := machine.DefaultRegistry()
	unlock, err := registry.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := registry.Prepare(); err != nil {
		return err
	}
	holder, err := s.holdNamespaces(ctx)
	if err != nil {
		return err
	}
	if err := s.connect(holder, previous); err != nil {
		return err
	}
	if err := registry.Join(s.id, s.record.Components[0].ID); err != nil {
		return err
	}
	return s.writeNodeConfig()
}

// makePrivateDirs makes the folders of a node that the machine doesn't see,
// without what an earlier start left there of running pods.
func (s *starter) makePrivateDirs() error {
	for _, stale := range []string{"/run/containerd", "/var/lib/cni", "/var/log/containers"} {
		if err := os.RemoveAll(machine.PrivatePath(s.folder.private(), stale)); err != nil {
			return fmt.Errorf("clear node's folder: %w", err)
		}
	}
	for _, dir := range machine.PrivateDirs() {
		if err := os.MkdirAll(machine.PrivatePath(s.folder.private(), dir), 0o755); err != nil {
			return fmt.Errorf("make node's folder: %w", err)
		}
	}
	return nil
}

// holdNamespaces starts the holder and waits until the namespaces are complete.
func (s *starter) holdNamespaces(ctx context.Context) (pid int, err error) {
	ready := s.folder.join("namespaces.ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("hold namespaces: %w", err)
	}
	command, err := machine.Holder(s.manager.Self, s.folder.private(), ready, s.folder.log(holderName))
	if err != nil {
		return 0, err
	}
	if err := s.launch(command); err != nil {
		return 0, err
	}
	err = s.wait(ctx, "the node's namespaces", func(context.Context) error {
		_, err := os.Stat(ready)
		return err
	})
	return s.record.Components[0].ID.PID, err
}

func (s *starter) connect(holder int, previous *record) error {
	used, err := machine.UsedPrefixes()
	if err != nil {
		return err
	}
	preferred := 0
	if previous != nil && previous.Network != nil {
		preferred = previous.Network.Index
	}
	network, err := machine.ChooseNetwork(preferred, used)
	if err != nil {
		return err
	}
	s.record.Network, s.record.Address = &network, network.Link.Node
	if err := s.folder.save(s.record); err != nil {
		return err
	}
	return machine.Connect(s.id, holder, network)
}

// startNode starts what runs beside etcd and the API server, and waits for all.
func (s *starter) startNode(ctx context.Context, client *api.Client) error {
	if err := s.start(s.containerd()); err != nil {
		return err
	}
	if err := s.wait(ctx, "containerd", s.containerdAnswers); err != nil {
		return err
	}
	for _, file := range s.manager.builder().Images() {
		if err := s.importImage(ctx, file); err != nil {
			return err
		}
	}
	if err := s.wait(ctx, "the API server", client.Ready); err != nil {
		return err
	}
	if err := s.applyObjects(ctx, client); err != nil {
		return err
	}
	if err := s.startCSI(ctx, client); err != nil {
		return err
	}
	if err := markPodsNotReady(ctx, client); err != nil {
		return err
	}
	started := time.Now()
	if err := s.start(s.kubelet(), s.controllerManager(), s.scheduler(), s.proxy(), s.dns()); err != nil {
		return err
	}
	defaultAccount := func(ctx context.Context) error {
		return client.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", &struct{}{})
	}
	return errors.Join(
		s.wait(ctx, "the node", nodeReady(client, started)),
		s.wait(ctx, "the default service account", defaultAccount),
		s.wait(ctx, "kube-proxy", s.answers(proxyHealth, "/healthz")),
		s.wait(ctx, "CoreDNS", s.answers(dnsReadyPort, "/ready")),
		s.wait(ctx, "the CSI driver", s.csiRegistered(client)),
	)
}

// answers asks a component of the node over plain HTTP whether it is well.
func (s *starter) answers(port int, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.nodeURL(port, path), nil)
		if err != nil {
			return err
		}
		response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 400))
			return fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
		}
		return nil
	}
}

func (p plan) containerdAnswers(ctx context.Context) error {
	return p.ctr(ctx, "version")
}

func (p plan) importImage(ctx context.Context, file string) error {
	if err := p.ctr(ctx, "images", "import", file); err != nil {
		return fmt.Errorf("load image %s: %w", file, err)
	}
	return nil
}

// ctr runs containerd's command line on the images of the kubelet. It works
// from inside the namespaces, where the socket's path is short: from outside it
// may be longer than a socket's path can be.
func (p plan) ctr(ctx context.Context, args ...string) error {
	holder, ok := p.record.holder()
	if !ok {
		return errors.New("this cluster has no containerd (mode api)")
	}
	line := append(machine.Enter(holder.PID), p.state.Bin("node/ctr"), "--address", containerdRPC, "--namespace", "k8s.io")
	line = append(line, args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

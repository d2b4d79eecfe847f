package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
)

// starter starts components and notes each in the record, before it starts the
// next one: whatever happens, nothing runs that can't be found.
type starter struct {
	plan
	manager Manager
	running []*process.Running
}

// newStarter makes the cluster's folder and decides its ports. A full cluster
// has a network of its own, in which every port is free.
func newStarter(m Manager, p plan, mode Mode, previous *record) (*starter, error) {
	for _, dir := range []string{p.folder.join("logs"), p.folder.join("home"), p.folder.config("")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make cluster's folder: %w", err)
		}
	}
	p.record = &record{Mode: mode, Ports: ports{API: 6443, Etcd: 2379, EtcdPeer: 2380}, Services: machine.ServiceRange(), CSI: m.CSI, CSIData: m.CSIData}
	if mode == ModeAPI {
		if m.Services.IsValid() {
			p.record.Services = m.Services
		}
		p.record.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		var err error
		if p.record.Ports, err = freePorts(previous); err != nil {
			return nil, err
		}
	}
	return &starter{plan: p, manager: m}, p.folder.save(p.record)
}

// freePorts asks the kernel for ports that nobody listens on. The API server
// keeps its port over a restart if it can, for the sake of copied kubeconfigs.
func freePorts(previous *record) (ports, error) {
	var want int
	if previous != nil {
		want = previous.Ports.API
	}
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	listen := func(port int) (int, error) {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return 0, fmt.Errorf("find free port: %w", err)
		}
		listeners = append(listeners, l)
		return l.Addr().(*net.TCPAddr).Port, nil
	}
	api, err := listen(want)
	if err != nil {
		if api, err = listen(0); err != nil {
			return ports{}, err
		}
	}
	etcd, err := listen(0)
	if err != nil {
		return ports{}, err
	}
	peer, err := listen(0)
	return ports{API: api, Etcd: etcd, EtcdPeer: peer}, err
}

// start starts components, inside the cluster's namespaces if it has any.
func (s *starter) start(components ...component) error {
	for _, c := range components {
		command := process.Command{
			Name: c.name, Path: c.path, Args: c.args,
			Env: s.environment(), Dir: string(s.folder), Log: s.folder.log(c.name),
		}
		if holder, ok := s.record.holder(); ok {
			enter := machine.Enter(holder.PID)
			nsenter, err := exec.LookPath(enter[0])
			if err != nil {
				return fmt.Errorf("start %s: %w; hint: install util-linux", c.name, err)
			}
			command.Path = nsenter
			command.Args = append(append(enter[1:], c.path), c.args...)
		}
		if err := s.launch(command); err != nil {
			return err
		}
	}
	return nil
}

func (s *starter) launch(c process.Command) error {
	running, err := process.Start(c)
	if err != nil {
		return err
	}
	s.running = append(s.running, running)
	s.record.Components = append(s.record.Components, componentRecord{Name: c.Name, ID: running.ID})
	if err := s.folder.save(s.record); err != nil {
		return err
	}
	if s.record.Mode == ModeAPI {
		return nil
	}
	return s.group.Add(running.ID.PID)
}

// wait asks check until it says nil. It gives up when the time is over or when
// a component has ended, and then says what check said last.
func (s *starter) wait(ctx context.Context, what string, check func(context.Context) error) error {
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		for _, r := range s.running {
			if ended := r.Err(); ended != nil {
				return fmt.Errorf("wait for %s: %w", what, ended)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last answer: %w; hint: see the logs in %s", what, ctx.Err(), err, s.folder.join("logs"))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

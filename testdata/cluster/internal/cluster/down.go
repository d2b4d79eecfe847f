package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// patience is how long killed processes may take to go.
const patience = 20 * time.Second

// Down ends the cluster and removes all that it left, its data too. Ending one
// that isn't there is no error.
func (m Manager) Down(ctx context.Context, name string) error {
	if err := state.CheckName(name); err != nil {
		return err
	}
	unlock, err := state.Lock(ctx, m.State.LockFile(name))
	if err != nil {
		return err
	}
	defer unlock()
	p := m.plan(name)
	r, err := p.folder.load()
	if err != nil {
		m.say("%v: ending what can be found without it", err)
	}
	if r == nil {
		r = &record{Mode: ModeFull}
	}
	// Once begun it is done to the end: half a cluster is of no use.
	if err := m.end(context.WithoutCancel(ctx), p, r); err != nil {
		return fmt.Errorf("end cluster %q: %w", name, err)
	}
	if err := os.RemoveAll(string(p.folder)); err != nil {
		return fmt.Errorf("remove cluster %q: %w", name, err)
	}
	if err := os.Remove(m.State.LockFile(name)); err != nil {
		return fmt.Errorf("remove cluster %q: %w", name, err)
	}
	m.say("cluster %q is gone", name)
	return nil
}

// end ends all processes of a cluster and gives back what it has of the
// machine; its folder stays.
func (m Manager) end(ctx context.Context, p plan, r *record) error {
	err := kill(r)
	if r.Mode == ModeAPI || os.Geteuid() != 0 {
		return err
	}
	return errors.Join(err,
		p.group.Kill(patience),
		machine.UnmountBelow(string(p.folder)),
		machine.Disconnect(p.id),
		p.group.Remove(),
		leave(ctx, p.id),
	)
}

// kill ends the recorded processes, and those that others started in the
// cluster's namespaces. All get the signal before any is waited for, so that
// none has time to mourn another in its log or to start a pod again.
func kill(r *record) error {
	doomed := make([]process.ID, 0, len(r.Components))
	for _, c := range r.Components {
		doomed = append(doomed, c.ID)
	}
	if holder, ok := r.holder(); ok && holder.Alive() {
		guests, err := machine.Inhabitants(holder.PID)
		if err != nil {
			return err
		}
		for _, pid := range guests {
			if id, err := process.Identify(pid); err == nil {
				doomed = append(doomed, id)
			}
		}
	}
	var errs []error
	for _, id := range doomed {
		errs = append(errs, id.Signal(syscall.SIGKILL))
	}
	for _, id := range doomed {
		errs = append(errs, id.Kill(patience))
	}
	return errors.Join(errs...)
}

func leave(ctx context.Context, id string) error {
	registry := machine.DefaultRegistry()
	unlock, err := registry.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return registry.Leave(id)
}

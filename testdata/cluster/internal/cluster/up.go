package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/api"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/assets"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// startTimeout is for machines that are busy; a start takes some seconds.
const startTimeout = 3 * time.Minute

// Manager runs the clusters of one state folder. Several processes may each
// use a manager of their own at the same time.
type Manager struct {
	State    state.Folder
	Progress io.Writer
	Self     string // path of this program, which is run again to hold namespaces
	// Services is the range of service addresses of a cluster of mode api that is
	// started; the zero value means that of every full cluster.
	Services netip.Prefix
	// CSI gives a full cluster that is started a CSI driver with snapshots. One that
	// is started again has it if it had it.
	CSI bool
	// CSIData is the absolute path of the driver's folder; empty is one within the
	// cluster's. One of another cluster makes both see the same storage.
	CSIData string
}

// Up makes the cluster run and returns the path of its kubeconfig. A healthy
// one is left alone; one that crashed is started again with the data it had.
func (m Manager) Up(ctx context.Context, name string, mode Mode) (kubeconfig string, err error) {
	if err := state.CheckName(name); err != nil {
		return "", err
	}
	if mode == ModeFull && os.Geteuid() != 0 {
		return "", errors.New("start a cluster of mode full: only root can make namespaces, mounts and control groups" +
			"; hint: run it with sudo, or use --mode api")
	}
	unlock, err := state.Lock(ctx, m.State.LockFile(name))
	if err != nil {
		return "", err
	}
	defer unlock()
	p := m.plan(name)
	previous, err := p.folder.load()
	if err != nil {
		return "", err
	}
	if previous != nil {
		if err := m.same(name, mode, previous); err != nil {
			return "", err
		}
		m.CSI, m.CSIData = previous.CSI, previous.CSIData
		trouble := m.health(ctx, p.folder, previous)
		if trouble == nil {
			return p.folder.kubeconfig(), nil
		}
		m.say("cluster %q is not healthy (%v): starting it again", name, trouble)
		if err := m.end(ctx, p, previous); err != nil {
			return "", err
		}
	}
	if err := m.builder().Build(ctx, assets.Parts{Node: mode == ModeFull, CSI: m.CSI}); err != nil {
		return "", err
	}
	return p.folder.kubeconfig(), m.startRetrying(ctx, p, mode, previous)
}

// same refuses what a cluster that is there can't become.
func (m Manager) same(name string, mode Mode, r *record) error {
	const hint = "; hint: end it first: cluster down --name "
	if r.Mode != mode {
		return fmt.Errorf("cluster %q is there in mode %s, not %s"+hint+"%s", name, r.Mode, mode, name)
	}
	if m.CSI && !r.CSI {
		return fmt.Errorf("cluster %q is there without a CSI driver"+hint+"%s", name, name)
	}
	if m.CSIData != "" && m.CSIData != r.CSIData {
		return fmt.Errorf("cluster %q is there without the folder %s of a CSI driver"+hint+"%s", name, m.CSIData, name)
	}
	return nil
}

func (m Manager) plan(name string) plan {
	return plan{
		name: name, id: m.State.ID(name), state: m.State,
		folder: folder(m.State.Cluster(name)), group: machine.NewGroup(m.State.ID(name)),
	}
}

func (m Manager) builder() assets.Builder { return assets.Builder{State: m.State, Out: m.Progress} }

func (m Manager) say(format string, args ...any) { fmt.Fprintf(m.Progress, format+"\n", args...) }

// startRetrying starts the cluster; in mode api again when another process took
// a port between our choosing it and using it.
func (m Manager) startRetrying(ctx context.Context, p plan, mode Mode, previous *record) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		started := time.Now()
		err := m.start(ctx, p, mode, previous)
		if err == nil {
			m.say("cluster %q is ready after %s", p.name, time.Since(started).Round(100*time.Millisecond))
			return nil
		}
		if mode == ModeAPI && attempt < 3 && strings.Contains(err.Error(), "address already in use") {
			m.say("a port was taken meanwhile: trying others")
			continue
		}
		return err
	}
}

// start brings up what has been planned, or leaves nothing running.
func (m Manager) start(ctx context.Context, p plan, mode Mode, previous *record) (err error) {
	s, err := newStarter(m, p, mode, previous)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.end(context.WithoutCancel(ctx), s.plan, s.plan.record))
		}
	}()
	if mode == ModeFull {
		if err := s.prepareNode(ctx, previous); err != nil {
			return err
		}
	}
	if err := makeCredentials(s.plan); err != nil {
		return err
	}
	if err := s.start(s.etcd(), s.apiServer()); err != nil {
		return err
	}
	client, err := api.New(s.record.server(), s.folder.pki(""))
	if err != nil {
		return err
	}
	if mode == ModeAPI {
		return s.wait(ctx, "the API server", client.Ready)
	}
	return s.startNode(ctx, client)
}

// health returns why a cluster that should run doesn't work, or nil.
func (m Manager) health(ctx context.Context, f folder, r *record) error {
	if crashed := r.crashed(); len(crashed) > 0 {
		return fmt.Errorf("ended: %s", strings.Join(crashed, ", "))
	}
	if len(r.Components) == 0 {
		return errors.New("its start was cut short")
	}
	client, err := api.New(r.server(), f.pki(""))
	if err != nil {
		return err
	}
	if err := client.Ready(ctx); err != nil {
		return err
	}
	if r.Mode == ModeAPI {
		return nil
	}
	return nodeReady(client, time.Time{})(ctx)
}

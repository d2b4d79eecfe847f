package cluster

import (
	"fmt"
	"os"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// Kubeconfig returns the path of the kubeconfig of a cluster that is there.
func (m Manager) Kubeconfig(name string) (string, error) {
	_, err := m.present(name)
	return m.plan(name).folder.kubeconfig(), err
}

// Enter makes the calling process one of a full cluster's, so that it ends with
// it, and returns the start of a command line to run on the node.
func (m Manager) Enter(name string) ([]string, error) {
	r, err := m.present(name)
	if err != nil {
		return nil, err
	}
	holder, ok := r.holder()
	if !ok || !holder.Alive() {
		return nil, fmt.Errorf("cluster %q has no running node", name)
	}
	if err := m.plan(name).group.Add(os.Getpid()); err != nil {
		return nil, err
	}
	return machine.Enter(holder.PID), nil
}

// present reads the record of a cluster that must be there.
func (m Manager) present(name string) (*record, error) {
	if err := state.CheckName(name); err != nil {
		return nil, err
	}
	r, err := m.plan(name).folder.load()
	if err == nil && r == nil {
		err = fmt.Errorf("cluster %q is not up; hint: cluster up --name %s", name, name)
	}
	return r, err
}

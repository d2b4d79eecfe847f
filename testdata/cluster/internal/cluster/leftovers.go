package cluster

import (
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
)

// Leftovers lists what the cluster called name has on the machine; an empty
// name means every cluster of this state folder. After Down there is nothing.
func (m Manager) Leftovers(name string) ([]string, error) {
	prefix, folder := m.State.IDPrefix(), m.State.Cluster("")
	if name != "" {
		prefix, folder = m.State.ID(name), m.State.Cluster(name)
	}
	searches := []struct {
		what string
		find func() ([]string, error)
	}{
		{"process", func() ([]string, error) { return process.Mentioning(folder + "/") }},
		{"mount", func() ([]string, error) { return machine.MountsBelow(folder) }},
		{"network interface", func() ([]string, error) { return machine.Links(prefix) }},
		{"control group", func() ([]string, error) { return machine.Groups(prefix) }},
		{"record", func() ([]string, error) { return machine.DefaultRegistry().Leftovers(prefix) }},
	}
	var left []string
	for _, s := range searches {
		found, err := s.find()
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			left = append(left, s.what+" "+f)
		}
	}
	return left, nil
}

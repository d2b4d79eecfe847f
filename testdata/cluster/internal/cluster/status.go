package cluster

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// The states that a cluster can be in.
const (
	StateAbsent  = "absent"
	StateRunning = "running"
	StateCrashed = "crashed" // some component has ended, or doesn't answer
)

// Status is what others need to know of a cluster, in the form that
// `cluster status -o json` prints. What a mode lacks is empty.
type Status struct {
	Name       string            `json:"name"`
	Mode       Mode              `json:"mode,omitempty"`
	State      string            `json:"state"`
	Reason     string            `json:"reason,omitempty"` // why it is crashed
	Components []ComponentStatus `json:"components,omitempty"`
	Kubeconfig string            `json:"kubeconfig,omitempty"`
	Server     string            `json:"server,omitempty"`
	Logs       string            `json:"logs,omitempty"` // folder
	// HostAddress is where servers on the machine listen to be reached by pods.
	HostAddress string `json:"hostAddress,omitempty"`
	NodeName    string `json:"nodeName,omitempty"`
	NodeAddress string `json:"nodeAddress,omitempty"`
	PodCIDR     string `json:"podCIDR,omitempty"`
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
	// Enter starts a command line that runs what follows it on the node: in its
	// network and with its mounts. The paths below are what it sees there.
	Enter            []string `json:"enter,omitempty"`
	KubeletRoot      string   `json:"kubeletRoot,omitempty"`
	ContainerdSocket string   `json:"containerdSocket,omitempty"`
	// RegistryConfig is the folder in which HOST:PORT/hosts.toml says how the node
	// pulls from a registry; it may be missing. It is the same on the machine.
	RegistryConfig string `json:"registryConfig,omitempty"`
	// CSI is what the cluster's CSI driver has, if it has one.
	CSI *CSIStatus `json:"csi,omitempty"`
}

// CSIStatus says how to use the CSI driver.
type CSIStatus struct {
	Driver string `json:"driver"`
	// Class is the name of the StorageClass, of the VolumeSnapshotClass and of the
	// VolumeGroupSnapshotClass.
	Class string `json:"class"`
	// Data is the driver's folder: volumes and snapshots, calls.ndjson, faults.json.
	Data string `json:"data"`
}

// ComponentStatus is one process of a cluster.
type ComponentStatus struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	State string `json:"state"`
}

// Status reads how the cluster is. One that isn't there is no error.
func (m Manager) Status(ctx context.Context, name string) (Status, error) {
	if err := state.CheckName(name); err != nil {
		return Status{}, err
	}
	p := m.plan(name)
	r, err := p.folder.load()
	if err != nil {
		return Status{}, err
	}
	if r == nil {
		return Status{Name: name, State: StateAbsent}, nil
	}
	s := Status{
		Name: name, Mode: r.Mode, State: StateRunning,
		Kubeconfig: p.folder.kubeconfig(), Server: r.server(), Logs: p.folder.join("logs"),
		HostAddress: r.Address.String(), ServiceCIDR: r.Services.String(),
	}
	if err := m.health(ctx, p.folder, r); err != nil {
		s.State, s.Reason = StateCrashed, err.Error()
	}
	for _, c := range r.Components {
		cs := ComponentStatus{Name: c.Name, PID: c.ID.PID, State: StateRunning}
		if !c.ID.Alive() {
			cs.State = StateCrashed
		}
		s.Components = append(s.Components, cs)
	}
	if r.CSI {
		s.CSI = &CSIStatus{Driver: csiDriver, Class: csiClass, Data: p.csiData(r)}
	}
	if r.Network != nil {
		s.NodeName, s.NodeAddress = nodeName, r.Network.Link.Node.String()
		s.HostAddress, s.PodCIDR = r.Network.Link.Host.String(), r.Network.Pods.String()
		s.KubeletRoot, s.ContainerdSocket, s.RegistryConfig = kubeletRoot, containerdRPC, p.folder.config("certs.d")
		s.Enter = []string{"env", state.Env + "=" + m.State.Root, m.State.Bin("cluster"), "exec", "--name", name, "--"}
	}
	return s, nil
}

// Print writes the status for people.
func (s Status) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"name", s.Name}, {"mode", string(s.Mode)}, {"state", s.State}, {"reason", s.Reason},
		{"kubeconfig", s.Kubeconfig}, {"server", s.Server}, {"logs", s.Logs},
		{"host address", s.HostAddress}, {"node", strings.TrimSpace(s.NodeName + " " + s.NodeAddress)},
		{"pod CIDR", s.PodCIDR}, {"service CIDR", s.ServiceCIDR}, {"enter", strings.Join(s.Enter, " ")},
	} {
		if line[1] != "" {
			fmt.Fprintf(t, "%s:\t%s\n", line[0], line[1])
		}
	}
	for _, c := range s.Components {
		fmt.Fprintf(t, "  %s\t%s\tpid %d\n", c.Name, c.State, c.PID)
	}
	return t.Flush()
}

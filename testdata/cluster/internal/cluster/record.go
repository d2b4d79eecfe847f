// Package cluster brings clusters up and down: in mode api etcd and the API
// server alone, in mode full a node beside them that runs pods. It reads as the
// plan: Up and Down name their steps, the other files hold one step each.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
)

// Mode says how much of a cluster runs.
type Mode string

const (
	ModeAPI  Mode = "api"  // etcd and API server; any user, any number side by side
	ModeFull Mode = "full" // a node too; root only
)

// ParseMode reads a mode.
func ParseMode(s string) (Mode, error) {
	if m := Mode(s); m == ModeAPI || m == ModeFull {
		return m, nil
	}
	return "", fmt.Errorf("mode %q: neither %q nor %q", s, ModeFull, ModeAPI)
}

// record is what must be remembered of a cluster while it runs.
type record struct {
	Mode       Mode              `json:"mode"`
	Ports      ports             `json:"ports"`
	Address    netip.Addr        `json:"address"`           // of the API server
	Network    *machine.Network  `json:"network,omitempty"` // mode full
	Services   netip.Prefix      `json:"services"`
	CSI        bool              `json:"csi,omitempty"`     // it has a CSI driver
	CSIData    string            `json:"csiData,omitempty"` // the driver's folder, if another cluster's
	Components []componentRecord `json:"components"`        // in the order they were started
}

type componentRecord struct {
	Name string     `json:"name"`
	ID   process.ID `json:"process"`
}

// ports are those of the control plane.
type ports struct {
	API      int `json:"api"`
	Etcd     int `json:"etcd"`
	EtcdPeer int `json:"etcdPeer"`
}

func (r *record) server() string {
	return fmt.Sprintf("https://%s", netip.AddrPortFrom(r.Address, uint16(r.Ports.API)))
}

// holder returns the process that holds the namespaces of a full cluster.
func (r *record) holder() (process.ID, bool) {
	for _, c := range r.Components {
		if c.Name == holderName {
			return c.ID, true
		}
	}
	return process.ID{}, false
}

// crashed lists the components that have ended.
func (r *record) crashed() []string {
	var names []string
	for _, c := range r.Components {
		if !c.ID.Alive() {
			names = append(names, c.Name)
		}
	}
	return names
}

// folder is a cluster's folder.
type folder string

func (f folder) join(elements ...string) string {
	return filepath.Join(append([]string{string(f)}, elements...)...)
}

func (f folder) kubeconfig() string         { return f.join("kubeconfig") }
func (f folder) pki(file string) string     { return f.join("pki", file) }
func (f folder) log(name string) string     { return f.join("logs", name+".log") }
func (f folder) config(n string) string     { return f.join("config", n) }
func (f folder) private() string            { return f.join("node") }
func (f folder) recordFile() string         { return f.join("cluster.json") }
func (f folder) userConfig(u string) string { return f.config(u + ".kubeconfig") }

// load returns nil without an error if there is no such cluster.
func (f folder) load() (*record, error) {
	b, err := os.ReadFile(f.recordFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster's record: %w", err)
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("read cluster's record %s: %w", f.recordFile(), err)
	}
	return r, nil
}

func (f folder) save(r *record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write cluster's record: %w", err)
	}
	next := f.recordFile() + ".new"
	if err := os.WriteFile(next, b, 0o644); err != nil {
		return fmt.Errorf("write cluster's record: %w", err)
	}
	if err := os.Rename(next, f.recordFile()); err != nil {
		return fmt.Errorf("write cluster's record: %w", err)
	}
	return nil
}

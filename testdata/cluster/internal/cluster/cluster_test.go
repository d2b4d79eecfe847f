package cluster

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

func testPlan(t *testing.T) plan {
	t.Helper()
	m := Manager{State: state.Folder{Root: t.TempDir(), Source: "/src"}, Progress: &bytes.Buffer{}}
	p := m.plan("test")
	network := machine.NetworkAt(4)
	p.record = &record{Mode: ModeFull, Address: network.Link.Node, Network: &network, Ports: ports{API: 6443, Etcd: 2379, EtcdPeer: 2380}}
	if err := os.MkdirAll(string(p.folder), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRecord(t *testing.T) {
	t.Parallel()
	p := testPlan(t)
	if r, err := p.folder.load(); r != nil || err != nil {
		t.Fatalf("before anything is saved: %v, %v", r, err)
	}
	p.record.Components = []componentRecord{{Name: "etcd", ID: process.ID{PID: 1 << 30}}}
	if err := p.folder.save(p.record); err != nil {
		t.Fatal(err)
	}
	got, err := p.folder.load()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.record, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := got.crashed(); !slices.Equal(got, []string{"etcd"}) {
		t.Errorf("crashed %v, want etcd", got)
	}
	if got, want := got.server(), "https://10.98.4.1:6443"; got != want {
		t.Errorf("server %s, want %s", got, want)
	}
}

func TestParseMode(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"api": true, "full": true, "": false, "Full": false} {
		if _, err := ParseMode(text); (err == nil) != ok {
			t.Errorf("ParseMode(%q): %v", text, err)
		}
	}
}

func TestMakeCredentials(t *testing.T) {
	t.Parallel()
	p := testPlan(t)
	read := func(file string) string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if err := makeCredentials(p); err != nil {
		t.Fatal(err)
	}
	ca, key := read(p.folder.pki("ca.crt")), read(p.folder.pki("sa.key"))
	if err := makeCredentials(p); err != nil {
		t.Fatal(err)
	}
	if read(p.folder.pki("ca.crt")) != ca {
		t.Error("credentials that serve were made anew")
	}
	p.record.Address = netip.MustParseAddr("10.98.5.1")
	if err := makeCredentials(p); err != nil {
		t.Fatal(err)
	}
	if read(p.folder.pki("ca.crt")) == ca || !serves(p.folder.pki("kube-apiserver.crt"), p.record.Address) {
		t.Error("the certificates don't follow the address")
	}
	if read(p.folder.pki("sa.key")) != key {
		t.Error("the key of service account tokens changed")
	}
	if !strings.Contains(read(p.folder.kubeconfig()), "https://10.98.5.1:6443") {
		t.Error("the kubeconfig doesn't follow the address")
	}
	entries, err := os.ReadDir(p.folder.pki(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || strings.HasSuffix(e.Name(), ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestNodeConfig(t *testing.T) {
	t.Parallel()
	p := testPlan(t)
	if err := p.writeNodeConfig(); err != nil {
		t.Fatal(err)
	}
	for name := range nodeFiles() {
		b, err := os.ReadFile(p.folder.config(name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("{{")) || bytes.Contains(b, []byte("<no value>")) {
			t.Errorf("%s isn't filled in:\n%s", name, b)
		}
		var into map[string]any
		switch {
		case strings.HasSuffix(name, ".yaml"):
			err = yaml.UnmarshalStrict(b, &into)
		case strings.HasSuffix(name, ".conflist"):
			err = json.Unmarshal(b, &into)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No secret may be read off a command line, and no check may be switched off.
func TestArguments(t *testing.T) {
	t.Parallel()
	p := testPlan(t)
	for _, c := range []component{p.etcd(), p.apiServer(), p.controllerManager(), p.scheduler(), p.kubelet(), p.proxy(), p.dns(), p.containerd()} {
		for _, arg := range c.args {
			for _, bad := range []string{"insecure", "token", "AlwaysAllow", "http://"} {
				if strings.Contains(arg, bad) {
					t.Errorf("%s: %s", c.name, arg)
				}
			}
		}
	}
}

func TestTakesPods(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		json string
		want string
	}{
		"ready":         {`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-22T18:00:00Z"}]}}`, ""},
		"from before":   {`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-22T17:59:59Z"}]}}`, "not reported"},
		"not ready":     {`{"status":{"conditions":[{"type":"Ready","status":"False","message":"no CNI","lastHeartbeatTime":"2026-11-22T18:00:01Z"}]}}`, "no CNI"},
		"tainted":       {`{"spec":{"taints":[{"key":"x"}]},"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"2026-11-22T18:00:01Z"}]}}`, "taint x"},
		"no conditions": {`{}`, "not reported"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n node
			if err := json.Unmarshal([]byte(test.json), &n); err != nil {
				t.Fatal(err)
			}
			err := n.takesPods(now)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestFreePorts(t *testing.T) {
	t.Parallel()
	first, err := freePorts(nil)
	if err != nil {
		t.Fatal(err)
	}
	if first.API == first.Etcd || first.Etcd == first.EtcdPeer || first.API == 0 {
		t.Errorf("ports %+v", first)
	}
	again, err := freePorts(&record{Ports: first})
	if err != nil || again.API != first.API {
		t.Errorf("the API server's port moved from %d to %d (%v)", first.API, again.API, err)
	}
}

func TestStatusOfNothing(t *testing.T) {
	t.Parallel()
	m := Manager{State: state.Folder{Root: t.TempDir()}, Progress: &bytes.Buffer{}}
	s, err := m.Status(t.Context(), "x")
	if err != nil || s.State != StateAbsent {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := m.Kubeconfig("x"); err == nil || !strings.Contains(err.Error(), "hint: cluster up --name x") {
		t.Errorf("kubeconfig: %v", err)
	}
	if err := m.LoadImage(t.Context(), "x", "/no/such.tar", nil); err == nil || !strings.Contains(err.Error(), "is not up") {
		t.Errorf("load image: %v", err)
	}
	if err := m.Down(t.Context(), "../x"); err == nil {
		t.Error("down of a name that isn't one")
	}
}

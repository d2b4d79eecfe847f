package machine

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
)

func TestChooseNetwork(t *testing.T) {
	t.Parallel()
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for name, test := range map[string]struct {
		preferred int
		used      []netip.Prefix
		want      int // -1 for none
	}{
		"free machine":      {0, prefixes("192.0.2.0/24"), 0},
		"preferred is free": {7, prefixes("10.98.0.0/30"), 7},
		"preferred is used": {7, prefixes("10.98.7.0/30"), 0},
		"links in use":      {0, prefixes("10.98.0.0/30", "10.98.1.0/30"), 2},
		"pods in use":       {0, prefixes("10.99.0.0/24", "10.99.1.5/32"), 2},
		"a VPN to part":     {0, prefixes("10.98.0.0/17"), 128},
		"a VPN to all":      {0, prefixes("10.0.0.0/8"), -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ChooseNetwork(test.preferred, test.used)
			if test.want < 0 {
				if err == nil || !strings.Contains(err.Error(), "hint:") {
					t.Errorf("got %v, %v, want an error with a hint", got, err)
				}
				return
			}
			if err != nil || got != NetworkAt(test.want) {
				t.Errorf("got %v, %v, want %v", got, err, NetworkAt(test.want))
			}
		})
	}
}

func TestNetworkAt(t *testing.T) {
	t.Parallel()
	if got, want := NetworkAt(3).String(), "node 10.98.3.1, host 10.98.3.2, pods 10.99.3.0/24"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

const hybrid = `22 27 0:21 / /proc rw,relatime - proc proc rw
30 29 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
32 29 0:28 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
33 29 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
40 27 0:30 / /home/a\040b/.testbed/x rw - tmpfs tmpfs rw
`

func TestMounts(t *testing.T) {
	t.Parallel()
	mounts, err := parseMounts(strings.NewReader(hybrid))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := mounts[5].point, "/home/a b/.testbed/x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	all := hierarchiesOf(mounts)
	want := []hierarchy{
		{point: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"rw", "cpu", "cpuacct"}},
		{point: "/sys/fs/cgroup/pids", controllers: []string{"rw", "pids"}},
		{point: "/sys/fs/cgroup/systemd", controllers: []string{"rw", "name=systemd"}},
		{point: "/sys/fs/cgroup/unified", unified: true},
	}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Errorf("hierarchies (-want +got):\n%s", diff)
	}
	if _, err := parseMounts(strings.NewReader("garbage\n")); err == nil {
		t.Error("garbage is taken for a mount")
	}
}

func TestTracking(t *testing.T) {
	t.Parallel()
	cpu := hierarchy{point: "cpu", controllers: []string{"rw", "cpu"}}
	memory := hierarchy{point: "memory", controllers: []string{"rw", "memory"}}
	pids := hierarchy{point: "pids", controllers: []string{"rw", "pids"}}
	unified := hierarchy{point: "unified", unified: true}
	for name, test := range map[string]struct {
		all  []hierarchy
		want string
	}{
		"version 2":             {[]hierarchy{unified}, "unified"},
		"version 1":             {[]hierarchy{cpu, memory, pids, unified}, "pids"},
		"version 1 and no pids": {[]hierarchy{cpu, memory, unified}, "unified"},
		"none that serves":      {[]hierarchy{cpu, memory}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := tracking(test.all)
			if got.point != test.want || ok != (test.want != "") {
				t.Errorf("got %q, %v, want %q", got.point, ok, test.want)
			}
		})
	}
}

func TestMissingControllers(t *testing.T) {
	t.Parallel()
	got := missingControllers("cpuset cpu io memory rdma pids", "cpu memory pids")
	if diff := cmp.Diff([]string{"cpuset", "io"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	changed, same, absent := filepath.Join(dir, "changed"), filepath.Join(dir, "same"), filepath.Join(dir, "absent")
	write(t, changed, "0\n")
	write(t, same, "5\n")
	s, err := ReadSettings([]string{changed, same, absent})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Settings{changed: "0", same: "5"}, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	write(t, changed, "1\n")
	if err := os.Chmod(same, 0o400); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(); err != nil {
		t.Error(err)
	}
	if got := read(t, changed); got != "0\n" {
		t.Errorf("after restore: %q, want 0", got)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := []string{filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")}
	if diff := cmp.Diff(want, missing(filepath.Join(dir, "a", "b"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The registry as it is before and after clusters, without their machine.
func TestRegistry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	setting, made := filepath.Join(dir, "setting"), filepath.Join(dir, "made")
	write(t, setting, "1\n") // as a kubelet left it
	if err := os.Mkdir(made, 0o755); err != nil {
		t.Fatal(err)
	}
	r := Registry{dir: filepath.Join(dir, "registry")}
	if err := r.save(before{Settings: Settings{setting: "0"}, Dirs: []string{made}}); err != nil {
		t.Fatal(err)
	}
	alive, err := process.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for id, holder := range map[string]process.ID{"kva-1": alive, "kva-2": alive, "kvb-1": {PID: alive.PID, Boot: "earlier"}} {
		if err := r.Join(id, holder); err != nil {
			t.Fatal(err)
		}
	}
	leave(t, r, "kva-1")
	if got := read(t, setting); got != "1\n" {
		t.Errorf("put back while a cluster runs: %q", got)
	}
	if left, err := r.Leftovers("kva"); err != nil || len(left) != 1 {
		t.Errorf("leftovers %v, %v, want one", left, err)
	}
	leave(t, r, "kva-2") // the third one has ended without leaving
	if got := read(t, setting); got != "0\n" {
		t.Errorf("not put back by the last cluster: %q", got)
	}
	for _, gone := range []string{made, r.dir} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	leave(t, r, "kva-2")
	if left, err := r.Leftovers(""); err != nil || len(left) != 0 {
		t.Errorf("leftovers %v, %v, want none", left, err)
	}
}

func leave(t *testing.T, r Registry, id string) {
	t.Helper()
	if err := r.Leave(id); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Taking the machine's own namespaces for a cluster's would end every process.
func TestInhabitantsOfTheMachine(t *testing.T) {
	t.Parallel()
	r, err := process.Start(process.Command{Name: "x", Path: "/bin/sleep", Args: []string{"60"}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.ID.Kill(time.Second) }) //nolint:errcheck // it ends by itself
	if got, err := Inhabitants(r.ID.PID); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want none", got, err)
	}
}

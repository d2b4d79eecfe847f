package assets

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

func TestFingerprint(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := Builder{State: state.Folder{Root: t.TempDir(), Source: source}, Out: &bytes.Buffer{}}
	target := target{name: "x", module: "m", sources: []string{"*.go"}}
	sum := func() string {
		t.Helper()
		s, err := b.fingerprint(target)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	write("m/go.mod", "module m")
	write("m/a.go", "package m")
	first := sum()
	write("m/a_test.go", "package m")
	write("m/other/b.go", "package other")
	if sum() != first {
		t.Error("what doesn't go in changes the fingerprint")
	}
	write("m/go.mod", "module m // v2")
	second := sum()
	write("m/a.go", "package m // changed")
	third := sum()
	target.ldflags = "-s"
	if second == first || third == second || sum() == third {
		t.Error("what goes in doesn't change the fingerprint")
	}
}

func TestInstallLine(t *testing.T) {
	t.Parallel()
	const plan = `The following NEW packages will be installed:
  libnftables1 nftables runc
Inst libnftables1 (1.0.6-2+deb12u2 Debian:12.15/oldstable [amd64])
Inst nftables (1.0.6-2+deb12u2 Debian:12.15/oldstable [amd64])
Remv containerd.io [1.7]
Conf nftables (1.0.6-2+deb12u2 Debian:12.15/oldstable [amd64])
`
	var got []string
	for _, m := range installLine.FindAllStringSubmatch(plan, -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff([]string{"libnftables1", "nftables"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, file := filepath.Join(dir, "source"), filepath.Join(dir, "file")
	if newer(file, source) {
		t.Error("of two files that aren't there one is newer")
	}
	for _, f := range []string{source, file} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !newer(file, source) {
		t.Error("the file made after its source isn't newer")
	}
}

// A cluster of mode api must not wait for what only a node needs.
func TestTargets(t *testing.T) {
	t.Parallel()
	b := Builder{State: state.Folder{Root: "/s", Source: "/src"}}
	names := func(parts Parts) (all []string) {
		for _, target := range b.targets(parts) {
			all = append(all, target.name)
		}
		return all
	}
	for _, tt := range []struct {
		parts Parts
		want  []string
	}{
		{Parts{}, []string{"cluster", "kube"}},
		{Parts{CSI: true}, []string{"cluster", "kube", "csi"}},
		{Parts{Node: true}, []string{"cluster", "kube", "pause", "node"}},
		{Parts{Node: true, CSI: true}, []string{"cluster", "kube", "csi", "pause", "node"}},
	} {
		if diff := cmp.Diff(tt.want, names(tt.parts)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.parts, diff)
		}
	}
}

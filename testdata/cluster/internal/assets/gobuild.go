package assets

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// kubernetesVersion is that of k8s.io/kubernetes in go.mod, which the binaries
// must be told.
const kubernetesVersion = "v1.36.3"

// target is one run of `go build`.
type target struct {
	name     string   // what it is called in messages, and its stamp
	module   string   // folder of its module, below testdata
	packages []string // what to build; "tool" is all tools of the module
	sources  []string // files of ours below module that go in, as patterns
	output   string   // below bin: a file, or a folder if it ends in a slash
	makes    []string // the files below bin that must be there afterwards
	ldflags  string
	tags     string
	note     string
}

func components() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"}
}

func (b Builder) targets(parts Parts) []target {
	stamp := "-X k8s.io/component-base/version."
	all := []target{{
		name: "cluster", module: "cluster", packages: []string{"."}, output: "cluster", makes: []string{"cluster"},
		sources: []string{"*.go", "internal/*/*.go"},
	}, {
		name: "kube", module: "cluster", packages: []string{"./kube"}, output: "kube", makes: []string{"kube"},
		sources: []string{"kube/*.go"},
		ldflags: stamp + "gitVersion=" + kubernetesVersion + " " + stamp + "gitMajor=1 " + stamp + "gitMinor=36",
		note:    "etcd and Kubernetes; the first time it takes some minutes",
	}}
	if parts.CSI {
		all = append(all, target{
			name: "csi", module: csiModule, packages: []string{"tool", "./driver"}, output: "csi/",
			makes:   []string{"csi/driver", "csi/csi-provisioner", "csi/csi-snapshotter", "csi/snapshot-controller"},
			sources: []string{"driver/*.go"},
			note:    "CSI driver and its sidecars; the first time it takes a minute or two",
		})
	}
	if !parts.Node {
		return all
	}
	return append(all, target{
		name: "pause", module: "cluster", packages: []string{"./pause"}, output: "pause", makes: []string{"pause"},
		sources: []string{"pause/*.go"},
	}, target{
		name: "node", module: "node", packages: []string{"tool", "./coredns"}, output: "node/",
		makes:   []string{"node/containerd", "node/containerd-shim-runc-v2", "node/ctr", "node/ptp", "node/portmap", "node/host-local", "node/loopback", "node/coredns"},
		sources: []string{"coredns/*.go"},
		tags:    "no_btrfs,no_devmapper,no_zfs",
		note:    "containerd, CNI plugins and CoreDNS; the first time it takes a minute or two",
	})
}

// buildTarget runs the go command unless the output is that of the same input:
// asking the go command itself takes seconds for a module of this size.
func (b Builder) buildTarget(ctx context.Context, t target) error {
	want, err := b.fingerprint(t)
	if err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	stampFile := b.State.Bin("." + t.name + ".stamp")
	if have, err := os.ReadFile(stampFile); err == nil && string(have) == want && b.haveAll(t) {
		return nil
	}
	b.say("building %s", strings.TrimSuffix(t.name+": "+t.note, ": "))
	started := time.Now()
	if err := b.goBuild(ctx, t); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	b.say("built %s in %s", t.name, time.Since(started).Round(time.Second))
	return os.WriteFile(stampFile, []byte(want), 0o644)
}

func (b Builder) haveAll(t target) bool {
	return !slices.ContainsFunc(t.makes, func(name string) bool {
		_, err := os.Stat(b.State.Bin(name))
		return err != nil
	})
}

// fingerprint covers what decides the output: our sources, the modules'
// versions and the way of building.
func (b Builder) fingerprint(t target) (string, error) {
	module := filepath.Join(b.State.Source, t.module)
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), t.packages, t.output, t.ldflags, t.tags)
	for _, pattern := range append([]string{"go.mod", "go.sum"}, t.sources...) {
		files, err := filepath.Glob(filepath.Join(module, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			body, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, strings.TrimPrefix(file, module), len(body))
			h.Write(body)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (b Builder) goBuild(ctx context.Context, t target) error {
	output := b.State.Bin(t.output)
	if strings.HasSuffix(t.output, "/") {
		output += "/" // the path's cleaning dropped it; the go command needs it
		if err := os.MkdirAll(output, 0o755); err != nil {
			return err
		}
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", strings.TrimSpace("-s -w " + t.ldflags), "-o", output}
	if t.tags != "" {
		args = append(args, "-tags", t.tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, t.packages...)...)
	cmd.Dir = filepath.Join(b.State.Source, t.module)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.Stdout, cmd.Stderr = b.Out, b.Out
	return cmd.Run()
}

// linkComponents gives the multi-call binary its names.
func (b Builder) linkComponents() error {
	for _, name := range components() {
		link := b.State.Bin(name)
		if to, err := os.Readlink(link); err == nil && to == "kube" {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("link %s: %w", name, err)
		}
		if err := os.Symlink("kube", link); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

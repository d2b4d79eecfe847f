package assets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// program is one that doesn't come from a Go module.
type program struct {
	name     string // as on the PATH
	pack     string // Debian's and Ubuntu's package
	path     string // in the package
	prefer   bool   // the package rather than what is on the PATH
	purpose  string
	optional bool
}

// programs lists them. runc is taken from the package where there is one: other
// builds may lack seccomp.
func programs() []program {
	return []program{
		{name: "runc", pack: "runc", path: "usr/sbin/runc", prefer: true, purpose: "containers"},
		{name: "nft", pack: "nftables", path: "usr/sbin/nft", purpose: "services and host ports"},
		{name: "busybox", pack: "busybox-static", path: "bin/busybox", prefer: true, purpose: "the shell image", optional: true},
	}
}

// bringPrograms puts each program into bin/node: a link to the machine's, or
// one that runs the unpacked package's.
func (b Builder) bringPrograms(ctx context.Context) error {
	var lacking []program
	for _, p := range programs() {
		if !b.haveProgram(p) {
			lacking = append(lacking, p)
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	_, err := exec.LookPath("apt-get")
	apt := err == nil
	var packages []string
	for _, p := range lacking {
		if _, err := lookPath(p.name); apt && (p.prefer || err != nil) {
			packages = append(packages, p.pack)
		}
	}
	if len(packages) > 0 {
		if err := b.unpack(ctx, packages); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range lacking {
		errs = append(errs, b.provide(p))
	}
	return errors.Join(errs...)
}

func (b Builder) haveProgram(p program) bool {
	_, err := os.Stat(b.State.Bin(filepath.Join("node", p.name))) // follows links
	return err == nil
}

// lookPath also looks where programs for root are, which not every PATH has.
func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

func (b Builder) provide(p program) error {
	target := b.State.Bin(filepath.Join("node", p.name))
	for _, path := range []string{p.path, filepath.Join("usr", p.path)} {
		unpacked := filepath.Join(b.debRoot(), path)
		if _, err := os.Stat(unpacked); err == nil {
			return b.wrap(unpacked, target)
		}
	}
	found, err := lookPath(p.name)
	if err == nil {
		_ = os.Remove(target)
		return os.Symlink(found, target)
	}
	if p.optional {
		b.say("%s is missing: no %s (package %s)", p.name, p.purpose, p.pack)
		return nil
	}
	return fmt.Errorf("%s, needed for %s, is not on the PATH and there is no apt-get to download it with; hint: install %s", p.name, p.purpose, p.pack)
}

// wrap makes target run the unpacked program with the libraries unpacked beside
// it, then tries it. runc gets none, as it doesn't pass its environment on to
// the container's first process: its only library belongs to apt itself, so it
// is there wherever the package can be downloaded.
func (b Builder) wrap(unpacked, target string) error {
	_ = os.Remove(target)
	libraries, err := b.libraries()
	if err != nil {
		return err
	}
	if filepath.Base(target) == "nft" && len(libraries) > 0 {
		script := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s' exec '%s' \"$@\"\n", strings.Join(libraries, ":"), unpacked)
		err = os.WriteFile(target, []byte(script), 0o755)
	} else {
		err = os.Symlink(unpacked, target)
	}
	if err != nil {
		return fmt.Errorf("provide %s: %w", filepath.Base(target), err)
	}
	try := map[string]string{"busybox": "true"}[filepath.Base(target)]
	if try == "" {
		try = "--version"
	}
	if out, err := exec.Command(target, try).CombinedOutput(); err != nil {
		_ = os.Remove(target)
		return fmt.Errorf("try %s: %w: %s", target, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// libraries lists the unpacked folders that hold shared libraries.
func (b Builder) libraries() ([]string, error) {
	var dirs []string
	for _, pattern := range []string{"usr/lib/*/*.so*", "lib/*/*.so*"} {
		files, err := filepath.Glob(filepath.Join(b.debRoot(), pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if dir := filepath.Dir(file); !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs, nil
}

func (b Builder) debRoot() string { return filepath.Join(b.State.Root, "debs", "root") }

// unpack downloads packages, with those that they need and the machine lacks,
// and unpacks them. The machine's package lists are used if they serve;
// otherwise fresh ones are fetched into the state folder.
func (b Builder) unpack(ctx context.Context, packages []string) error {
	b.say("downloading packages %s", strings.Join(packages, ", "))
	dir := filepath.Join(b.State.Root, "debs")
	archives := filepath.Join(dir, "archives")
	if err := os.RemoveAll(archives); err != nil {
		return fmt.Errorf("download packages: %w", err)
	}
	if err := os.MkdirAll(archives, 0o755); err != nil {
		return fmt.Errorf("download packages: %w", err)
	}
	apt := aptGet{dir: dir}
	err := apt.download(ctx, archives, packages)
	if err != nil {
		b.say("the machine's package lists don't serve (%v): fetching fresh ones", err)
		if err = apt.update(ctx); err == nil {
			err = apt.download(ctx, archives, packages)
		}
	}
	if err != nil {
		return fmt.Errorf("download packages %v: %w", packages, err)
	}
	files, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if out, err := exec.CommandContext(ctx, "dpkg", "-x", file, b.debRoot()).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", file, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// aptGet runs apt-get without changing the machine.
type aptGet struct {
	dir     string   // for its files
	options []string // set once it works on lists of its own
}

// update fetches package lists below dir and uses them from now on.
func (a *aptGet) update(ctx context.Context) error {
	lists, cache := filepath.Join(a.dir, "lists"), filepath.Join(a.dir, "cache")
	for _, d := range []string{filepath.Join(lists, "partial"), cache} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	a.options = []string{"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + cache}
	_, err := a.run(ctx, a.dir, "-o", "APT::Update::Error-Mode=any", "update")
	return err
}

var installLine = regexp.MustCompile(`(?m)^Inst (\S+) `)

// download puts packages, and what they need that isn't installed, into dir.
func (a *aptGet) download(ctx context.Context, dir string, packages []string) error {
	plan, err := a.run(ctx, dir, append([]string{"install", "--simulate", "--no-install-recommends"}, packages...)...)
	if err != nil {
		return err
	}
	// A package that is installed is in no plan, but unpacked all the same.
	wanted := slices.Clone(packages)
	for _, line := range installLine.FindAllStringSubmatch(plan, -1) {
		if !slices.Contains(wanted, line[1]) {
			wanted = append(wanted, line[1])
		}
	}
	_, err = a.run(ctx, dir, append([]string{"download"}, wanted...)...)
	return err
}

func (a *aptGet) run(ctx context.Context, dir string, args ...string) (string, error) {
	options := append([]string{"-q", "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true"}, a.options...)
	cmd := exec.CommandContext(ctx, "apt-get", append(options, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, lastLine(string(out)))
	}
	return string(out), nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

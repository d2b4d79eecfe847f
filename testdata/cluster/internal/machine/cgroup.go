package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchy is one mounted tree of control groups.
type hierarchy struct {
	point   string
	unified bool // version 2
	// controllers of a version 1 tree, such as "cpuset"
	controllers []string
}

func hierarchies() ([]hierarchy, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	return hierarchiesOf(mounts), nil
}

func hierarchiesOf(mounts []mount) []hierarchy {
	var found []hierarchy
	for _, m := range mounts {
		switch m.fsType {
		case "cgroup2":
			found = append(found, hierarchy{point: m.point, unified: true})
		case "cgroup":
			found = append(found, hierarchy{point: m.point, controllers: strings.Split(m.super, ",")})
		}
	}
	return found
}

// Group is a cluster's control group, called by the cluster's ID, in every
// hierarchy that is mounted. All that the cluster runs is in it, so that no
// process can be missed when the cluster ends.
type Group struct{ id string }

// NewGroup names the group; it makes nothing.
func NewGroup(id string) Group { return Group{id: id} }

// Path is the group as the kubelet's cgroupRoot names it.
func (g Group) Path() string { return "/" + g.id }

// systemGroup holds the cluster's own processes, beside the kubelet's kubepods.
const systemGroup = "system"

// Create makes the group.
func (g Group) Create() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("make control group: none are mounted")
	}
	for _, h := range all {
		for _, dir := range []string{g.id, filepath.Join(g.id, systemGroup)} {
			if err := h.create(dir); err != nil {
				return fmt.Errorf("make control group: %w", err)
			}
		}
	}
	return nil
}

func (h hierarchy) create(dir string) error {
	path := filepath.Join(h.point, dir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if !slices.Contains(h.controllers, "cpuset") {
		return nil
	}
	// A new cpuset is empty and takes no process until it is filled.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, file), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Add moves a process into the group, before it starts others.
func (g Group) Add(pid int) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	h, ok := tracking(all)
	if !ok {
		return errors.New("add to control group: no hierarchy to follow processes by")
	}
	file := filepath.Join(h.point, g.id, systemGroup, "cgroup.procs")
	if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("add process %d to control group: %w", pid, err)
	}
	return nil
}

// tracking returns the hierarchy that the cluster's own processes are followed
// in. With version 1 it is one alone, and neither cpu nor memory: the kubelet
// wants to find itself at the same place in these two.
func tracking(all []hierarchy) (hierarchy, bool) {
	for _, want := range []string{"pids", "freezer", "devices", "name=systemd"} {
		for _, h := range all {
			if slices.Contains(h.controllers, want) {
				return h, true
			}
		}
	}
	for _, h := range all {
		if h.unified {
			return h, true
		}
	}
	return hierarchy{}, false
}

// Processes lists the processes in the group and below, in any hierarchy.
func (g Group) Processes() ([]int, error) {
	dirs, err := g.dirs()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, fmt.Errorf("list processes of control group: %w", err)
		}
		for _, field := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// dirs lists the group's folders, innermost first.
func (g Group) dirs() ([]string, error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range all {
		root := filepath.Join(h.point, g.id)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
	}
	slices.Reverse(dirs)
	return dirs, nil
}

// Kill ends every process in the group, waiting at most patience.
func (g Group) Kill(patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		pids, err := g.Processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v still run %s after they were killed", pids, patience)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // gone already is fine
		}
	}
}

// Remove removes the group, which must hold no process any more.
func (g Group) Remove() error {
	var last error
	// The kernel lets go of a group a moment after its last process.
	for range 100 {
		dirs, err := g.dirs()
		if err != nil || len(dirs) == 0 {
			return err
		}
		for _, dir := range dirs {
			if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
				last = fmt.Errorf("remove control group %s: %w", dir, err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return last
}

// Groups lists the IDs of the groups that start with prefix.
func Groups(prefix string) ([]string, error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, h := range all {
		found, err := filepath.Glob(filepath.Join(h.point, prefix+"*"))
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		for _, dir := range found {
			if id := filepath.Base(dir); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// podControllers are what the kubelet limits pods with.
func podControllers() []string { return []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"} }

// enableControllers lets control groups of version 2 directly below the root
// use the controllers that the kubelet asks for. It returns what has to be
// written to which file to undo that; nothing with version 1.
func enableControllers() (Settings, error) {
	all, err := hierarchies()
	if err != nil || len(all) != 1 || !all[0].unified {
		return nil, err // a version 2 tree beside version 1 has no controllers
	}
	available, err := os.ReadFile(filepath.Join(all[0].point, "cgroup.controllers"))
	if err != nil {
		return nil, fmt.Errorf("list controllers: %w", err)
	}
	file := filepath.Join(all[0].point, "cgroup.subtree_control")
	enabled, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("list enabled controllers: %w", err)
	}
	add := missingControllers(string(available), string(enabled))
	if len(add) == 0 {
		return nil, nil
	}
	if err := os.WriteFile(file, []byte("+"+strings.Join(add, " +")), 0o644); err != nil {
		return nil, fmt.Errorf("enable controllers %v: %w; hint: in a container, start it with --cgroupns=host", add, err)
	}
	return Settings{file: "-" + strings.Join(add, " -")}, nil
}

func missingControllers(available, enabled string) []string {
	var add []string
	for _, c := range podControllers() {
		if slices.Contains(strings.Fields(available), c) && !slices.Contains(strings.Fields(enabled), c) {
			add = append(add, c)
		}
	}
	return add
}

func restoreControllers(undo Settings) error {
	var errs []error
	for file, value := range undo {
		// Busy: by now somebody else uses them.
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("disable controllers: %w", err))
		}
	}
	return errors.Join(errs...)
}

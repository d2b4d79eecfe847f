package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Settings of the whole machine that kubelet and kube-proxy change when they
// start, as files below /proc/sys or /sys. (Those below net/ that belong to a
// network namespace go with it.)
func sharedSettings() []string {
	return []string{
		"/proc/sys/kernel/keys/root_maxbytes",
		"/proc/sys/kernel/keys/root_maxkeys",
		"/proc/sys/kernel/panic",
		"/proc/sys/kernel/panic_on_oops",
		"/proc/sys/net/netfilter/nf_conntrack_max",
		"/proc/sys/vm/overcommit_memory",
		"/proc/sys/vm/panic_on_oom",
		"/sys/module/nf_conntrack/parameters/hashsize",
	}
}

// Settings maps files to what they hold, without surrounding space.
type Settings map[string]string

// ReadSettings reads files; those that don't exist are left out.
func ReadSettings(files []string) (Settings, error) {
	s := Settings{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("record setting %s: %w", file, err)
		}
		s[file] = strings.TrimSpace(string(b))
	}
	return s, nil
}

// Restore writes back every value that differs, and tries all of them.
func (s Settings) Restore() error {
	var errs []error
	for file, before := range s {
		now, err := os.ReadFile(filepath.Clean(file))
		if err == nil && strings.TrimSpace(string(now)) != before {
			err = os.WriteFile(file, []byte(before+"\n"), 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("put back setting %s to %q: %w", file, before, err))
		}
	}
	return errors.Join(errs...)
}

package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/process"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// Registry is what all full clusters of a machine have in common, whichever
// clone of the repository they are of: the settings as they were before the
// first one, and the folders that were made. The last one to leave puts things
// back. It lies below /run, which like the settings doesn't survive a reboot.
type Registry struct{ dir string }

// DefaultRegistry is the machine's.
func DefaultRegistry() Registry { return Registry{dir: "/run/kubectl-velero-testbed"} }

// before is how the machine was before the first cluster.
type before struct {
	Settings    Settings `json:"settings"`
	Dirs        []string `json:"dirs"`        // made by us, outermost first
	Controllers Settings `json:"controllers"` // see enableControllers
}

// Lock keeps other clusters from joining or leaving.
func (r Registry) Lock(ctx context.Context) (unlock func(), err error) {
	// Not in r.dir, which the last cluster removes.
	return state.Lock(ctx, r.dir+".lock")
}

// Prepare records the machine's settings, unless another cluster did, and makes
// the folders that PrivateDirs are mounted on. The caller holds the lock.
func (r Registry) Prepare() error {
	if err := r.prune(); err != nil {
		return err
	}
	b, err := r.load()
	if err != nil {
		return err
	}
	if b.Settings == nil {
		if b.Settings, err = ReadSettings(sharedSettings()); err != nil {
			return err
		}
	}
	for _, dir := range PrivateDirs() {
		b.Dirs = append(b.Dirs, missing(dir)...)
	}
	// Written before anything is made: what is forgotten is never put back.
	if err := r.save(b); err != nil {
		return err
	}
	for _, dir := range PrivateDirs() {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
	}
	added, err := enableControllers()
	if len(added) > 0 && b.Controllers == nil {
		b.Controllers = added
		err = errors.Join(err, r.save(b))
	}
	return err
}

// missing lists dir and its parents that don't exist, outermost first.
func missing(dir string) []string {
	if _, err := os.Lstat(dir); err == nil || dir == "/" {
		return nil
	}
	return append(missing(filepath.Dir(dir)), dir)
}

// Join notes that the cluster id runs, for as long as holder does. The caller
// holds the lock.
func (r Registry) Join(id string, holder process.ID) error {
	return writeJSON(filepath.Join(r.dir, id+".cluster"), holder)
}

// Leave forgets the cluster id; if no other one runs, the machine is put back
// as it was. The caller holds the lock. Leaving twice does no harm.
func (r Registry) Leave(id string) error {
	if err := os.Remove(filepath.Join(r.dir, id+".cluster")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("leave registry: %w", err)
	}
	if err := r.prune(); err != nil {
		return err
	}
	members, err := r.members()
	if err != nil || len(members) > 0 {
		return err
	}
	b, err := r.load()
	if err != nil {
		return err
	}
	err = errors.Join(b.Settings.Restore(), restoreControllers(b.Controllers))
	for i := len(b.Dirs) - 1; i >= 0; i-- {
		// A folder that somebody uses by now isn't empty, and stays.
		_ = os.Remove(b.Dirs[i])
	}
	if err != nil {
		return err
	}
	_ = os.Remove(r.dir + ".lock")
	return os.RemoveAll(r.dir)
}

// members lists the IDs of the clusters that joined.
func (r Registry) members() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(r.dir, "*.cluster"))
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".cluster")
	}
	return files, err
}

// prune forgets clusters that have ended without leaving.
func (r Registry) prune() error {
	members, err := r.members()
	if err != nil {
		return err
	}
	for _, id := range members {
		file := filepath.Join(r.dir, id+".cluster")
		var holder process.ID
		if err := readJSON(file, &holder); err != nil {
			return err
		}
		if holder.Alive() {
			continue
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("forget cluster %s: %w", id, err)
		}
	}
	return nil
}

func (r Registry) load() (before, error) {
	var b before
	err := readJSON(filepath.Join(r.dir, "before.json"), &b)
	if errors.Is(err, os.ErrNotExist) {
		return before{}, nil
	}
	return b, err
}

func (r Registry) save(b before) error {
	return writeJSON(filepath.Join(r.dir, "before.json"), b)
}

// Leftovers lists the records of clusters whose ID starts with prefix, and that
// of the machine's settings if no cluster will put them back.
func (r Registry) Leftovers(prefix string) ([]string, error) {
	members, err := r.members()
	if err != nil {
		return nil, err
	}
	var left []string
	for _, id := range members {
		if strings.HasPrefix(id, prefix) {
			left = append(left, "of running cluster "+id)
		}
	}
	if _, err := os.Stat(filepath.Join(r.dir, "before.json")); err == nil && len(members) == 0 {
		left = append(left, "of settings that were not put back, in "+r.dir)
	}
	return left, nil
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read record %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces path in one step: a reader sees the old or the new record.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write record %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

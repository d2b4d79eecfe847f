package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// kind is what a record is about, and its folder's name.
type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
	groups    kind = "groups"
)

// prefixes are what handles begin with, so that none is taken for a name.
var prefixes = map[kind]string{volumes: "vol-", snapshots: "snap-", groups: "group-"}

// record describes a volume, a snapshot or a group: <kind>/<id>.json. The content
// of the former two is the folder <kind>/<id>, which is there before its record.
type record struct {
	ID        string    `json:"id"`
	Size      int64     `json:"size"` // bytes
	Created   time.Time `json:"created"`
	Source    string    `json:"source,omitempty"`    // of a snapshot: its volume
	Group     string    `json:"group,omitempty"`     // of a snapshot
	Snapshots []string  `json:"snapshots,omitempty"` // of a group
}

// handle is the id of what is made under this name.
func handle(k kind, name string) string { return prefixes[k] + name }

// validID says that an id or name can be a file's name.
func validID(id string) bool {
	return id != "" && !strings.ContainsAny(id, "/\\") && !strings.HasPrefix(id, ".")
}

// errNotThere says that there is no record of this id.
var errNotThere = errors.New("there is none")

// store is the data folder. Its methods are safe for concurrent use; what is read
// and then changed is done within exclusive.
type store struct {
	root string

	// used is locked for as long as this driver lives.
	used *os.File

	mu    sync.Mutex
	locks map[string]*sync.Mutex // by kind and id
}

// openStore makes what is missing of the folder, and removes copies that a driver
// didn't live to finish, unless those of other clusters use the folder too: theirs
// may be copying.
func openStore(root string) (*store, error) {
	for k := range prefixes {
		if err := os.MkdirAll(filepath.Join(root, string(k)), 0o755); err != nil {
			return nil, err
		}
	}
	used, err := os.OpenFile(filepath.Join(root, "used"), os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return nil, err
	}
	s := &store{root: root, used: used, locks: map[string]*sync.Mutex{}}
	if err := s.claim(); err != nil {
		_ = used.Close()
		return nil, err
	}
	return s, nil
}

// claim says that the folder is used, and cleans it up if it wasn't.
func (s *store) claim() error {
	switch err := syscall.Flock(int(s.used.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case err == nil:
		if err := s.removeUnfinished(); err != nil {
			return err
		}
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("lock %s: %w", s.used.Name(), err)
	}
	if err := syscall.Flock(int(s.used.Fd()), syscall.LOCK_SH); err != nil {
		return fmt.Errorf("lock %s: %w", s.used.Name(), err)
	}
	return nil
}

// close gives the folder up, for others to clean up.
func (s *store) close() error { return s.used.Close() }

func (s *store) removeUnfinished() error {
	for k := range prefixes {
		unfinished, err := filepath.Glob(s.content(k, "*.new"))
		if err != nil {
			return err
		}
		for _, path := range unfinished {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// exclusive waits until nobody else changes this record. Its result ends that.
func (s *store) exclusive(k kind, id string) (unlock func()) {
	key := string(k) + "/" + id
	s.mu.Lock()
	l := s.locks[key]
	if l == nil {
		l = &sync.Mutex{}
		s.locks[key] = l
	}
	s.mu.Unlock()
	l.Lock()
	return l.Unlock
}

func (s *store) content(k kind, id string) string { return filepath.Join(s.root, string(k), id) }
func (s *store) file(k kind, id string) string    { return s.content(k, id) + ".json" }

// load returns errNotThere where there is no such record.
func (s *store) load(k kind, id string) (record, error) {
	var r record
	body, err := os.ReadFile(s.file(k, id))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s %q: %w", k, id, errNotThere)
	}
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(body, &r)
}

func (s *store) save(k kind, r record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	next := s.file(k, r.ID) + ".new"
	if err := os.WriteFile(next, append(body, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, s.file(k, r.ID))
}

// create makes a folder's content, a copy of the source or empty without one, and
// its record.
func (s *store) create(ctx context.Context, k kind, r record, source string) error {
	content := s.content(k, r.ID)
	next := content + ".new"
	for _, old := range []string{next, content} {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	if source == "" {
		if err := os.Mkdir(next, 0o777); err != nil {
			return err
		}
	} else if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", source, next).CombinedOutput(); err != nil {
		return fmt.Errorf("copy: %w: %s", err, out)
	}
	// Pods of any user write there; the umask has its say in Mkdir.
	if err := os.Chmod(next, 0o777); err != nil {
		return err
	}
	if err := os.Rename(next, content); err != nil {
		return err
	}
	return s.save(k, r)
}

// remove removes a record and its content; what isn't there is fine.
func (s *store) remove(k kind, id string) error {
	if err := os.Remove(s.file(k, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(s.content(k, id))
}

// list returns all records of a kind, by id.
func (s *store) list(k kind) ([]record, error) {
	files, err := filepath.Glob(s.file(k, "*"))
	if err != nil {
		return nil, err
	}
	var all []record
	for _, file := range files {
		r, err := s.load(k, strings.TrimSuffix(filepath.Base(file), ".json"))
		if errors.Is(err, errNotThere) {
			continue // removed in the meantime
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

package catalog_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// memory is a Bucket for tests without a server. It notes what changes it, and
// fails what fail says.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	changes []string // "put k", "create k", "delete k", "abort prefix"
	fail    func(change string) error
}

func newMemory(objects map[string]string) *memory {
	m := &memory{objects: map[string][]byte{}}
	for k, v := range objects {
		m.objects[k] = []byte(v)
	}
	return m
}

// change notes a change; m.mu is held.
func (m *memory) change(what, key string) error {
	change := what + " " + key
	m.changes = append(m.changes, change)
	if m.fail == nil {
		return nil
	}
	return m.fail(change)
}

func (m *memory) keys() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.objects))
}

func (m *memory) Put(_ context.Context, key string, r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("put", key); err != nil {
		return err
	}
	m.objects[key] = body
	return nil
}

func (m *memory) Create(_ context.Context, key string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return store.ErrExists
	}
	// A create that fails here has been done: its answer got lost.
	m.objects[key] = body
	return m.change("create", key)
}

func (m *memory) Get(_ context.Context, key string) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.objects[key]
	if !ok {
		return nil, store.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func (m *memory) GetRange(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, fmt.Errorf("not used")
}

func (m *memory) Stat(_ context.Context, key string) (store.ObjectInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.objects[key]
	if !ok {
		return store.ObjectInfo{}, store.ErrNotExist
	}
	return store.ObjectInfo{Key: key, Size: int64(len(body))}, nil
}

func (m *memory) List(_ context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	return func(yield func(store.ObjectInfo, error) bool) {
		for _, key := range m.keys() {
			if strings.HasPrefix(key, prefix) && !yield(store.ObjectInfo{Key: key}, nil) {
				return
			}
		}
	}
}

func (m *memory) Prefixes(_ context.Context, prefix string) ([]string, error) {
	names := map[string]bool{}
	for _, key := range m.keys() {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			if name, _, ok := strings.Cut(rest, "/"); ok {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

func (m *memory) Delete(_ context.Context, keys ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		if err := m.change("delete", key); err != nil {
			return err
		}
		delete(m.objects, key)
	}
	return nil
}

func (m *memory) AbortUploads(_ context.Context, prefix string) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return 0, m.change("abort", prefix)
}

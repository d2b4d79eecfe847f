//go:build integration

package backup_test

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kept is a namespace with much in it, which several tests back up and none
// changes: to fill one for each would take longer than all their backups.
type kept struct {
	mu        sync.Mutex
	namespace string // empty until it is filled
}

// They are variables since the tests of the binary share the API server.
var (
	crowd kept // has manyObjects ConfigMaps
	heavy kept // has severalParts Secrets that don't compress
)

// crowded makes the fixture one of a namespace with many objects, which it must not
// change.
func (f *fixture) crowded() {
	f.t.Helper()
	crowd.enter(f, "crowd", func() { f.makeMany(manyObjects) })
}

// weighty makes the fixture one of a namespace whose archive has several parts, which
// it must not change.
func (f *fixture) weighty() {
	f.t.Helper()
	heavy.enter(f, "heavy", func() { f.makeBallast(severalParts) })
}

// enter lets the first fixture that comes fill the namespace. One that fails leaves
// that to the next.
func (k *kept) enter(f *fixture, what string, fill func()) {
	f.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.namespace != "" {
		f.app = k.namespace
		return
	}
	f.app += "-" + what
	f.create("namespaces", "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.app}})
	fill()
	k.namespace = f.app
}

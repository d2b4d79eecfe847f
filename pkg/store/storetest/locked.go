package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func (p Provider) testLocked(t *testing.T) {
	l := p.Locking(t)
	if l.Retain != nil {
		l.testProtected(t, "retained", func(key string) (want store.LockedError) {
			return store.LockedError{Key: key, Until: l.Retain(t, key)}
		})
	}
	if l.Hold != nil {
		l.testProtected(t, "held", func(key string) store.LockedError {
			l.Hold(t, key)
			return store.LockedError{Key: key, Hold: true}
		})
	}
	l.testInspected(t)
}

// testProtected protects one object of several, and tries to get rid of it.
func (l Locking) testProtected(t *testing.T, name string, protect func(key string) store.LockedError) {
	key, free := "backups/"+name+"/k", "backups/"+name+"/free"
	Put(t, l.Bucket, key, []byte("kept"))
	Put(t, l.Bucket, free, []byte("free"))
	want := protect(key)
	if checker, ok := l.Bucket.(store.LockChecker); ok {
		checkLocked(t, "check locks", checker.CheckLocks(t.Context(), free, key), want)
		if err := checker.CheckLocks(t.Context(), free, free+"-missing"); err != nil {
			t.Errorf("%s: the others' locks: %v", name, err)
		}
	}

	for range 2 {
		checkLocked(t, "delete", l.Bucket.Delete(t.Context(), key, free), want)
		CheckContent(t, l.Bucket, key, []byte("kept"))
		if got := Keys(t, l.Bucket, key); len(got) != 1 {
			t.Errorf("%s: it isn't listed", name)
		}
	}
	if err := l.Bucket.Delete(t.Context(), free); err != nil {
		t.Errorf("%s: the other: %v", name, err)
	}
	if err := l.Bucket.Create(t.Context(), key, []byte("new")); !errors.Is(err, store.ErrExists) {
		t.Errorf("%s: create: %v", name, err)
	}
	err := l.Bucket.Put(t.Context(), key, strings.NewReader("new"))
	if l.Versions {
		if err != nil {
			t.Errorf("%s: put: %v", name, err)
		}
		CheckContent(t, l.Bucket, key, []byte("new"))
		return
	}
	checkLocked(t, "put", err, want)
	CheckContent(t, l.Bucket, key, []byte("kept"))
}

func checkLocked(t *testing.T, call string, err error, want store.LockedError) {
	t.Helper()
	var got *store.LockedError
	if !errors.As(err, &got) || !errors.Is(err, store.ErrLocked) {
		t.Errorf("%s: %v", call, err)
		return
	}
	// Servers round.
	if got.Key != want.Key || got.Hold != want.Hold || got.Until.Sub(want.Until).Abs() > time.Second {
		t.Errorf("%s: got %+v, want %+v", call, *got, want)
	}
	if store.Temporary(err) {
		t.Errorf("%s: temporary: %v", call, err)
	}
}

func (l Locking) testInspected(t *testing.T) {
	inspector, ok := l.Bucket.(store.Inspector)
	if !ok {
		t.Fatal("it is no store.Inspector")
	}
	got, err := inspector.Inspect(t.Context())
	if err != nil || l.Inspected != store.Unknown && got.Lock != l.Inspected {
		t.Errorf("inspect: %+v, %v", got, err)
	}
	if l.Versions && got.Versioning == store.No {
		t.Errorf("inspect: %+v", got)
	}
}

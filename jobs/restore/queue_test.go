package restore

import (
	"errors"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	var q queue
	body := make([]byte, maxQueueBytes/4)
	for i := range 4 {
		if q.full() {
			t.Fatalf("full after %d objects", i)
		}
		q.add(waiting{item: archive.Item{Body: body}})
	}
	q.add(waiting{item: archive.Item{Body: []byte("{}")}})
	if !q.full() || q.size() != 5 {
		t.Errorf("full: %t, size %d", q.full(), q.size())
	}
	if taken := q.take(); len(taken) != 5 || q.full() || q.size() != 0 {
		t.Errorf("took %d, full: %t, size %d", len(taken), q.full(), q.size())
	}
}

// An object that is being tried again may still come through.
func TestQueueHoldsWhatIsTried(t *testing.T) {
	t.Parallel()
	var q queue
	if q.holds(storageClassKind) {
		t.Error("an empty queue holds one")
	}
	q.add(waiting{item: archive.Item{Resource: storageClassKind}})
	if !q.holds(storageClassKind) || q.holds(services) {
		t.Error("it doesn't hold what it got")
	}
	if taken := q.try(); len(taken) != 1 || q.size() != 0 || !q.holds(storageClassKind) {
		t.Errorf("took %d, size %d, holds it: %t", len(taken), q.size(), q.holds(storageClassKind))
	}
	if q.tried(); q.holds(storageClassKind) {
		t.Error("it holds what was tried")
	}
}

func TestFirstLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"one": "one", "one\ntwo": "one …", "": ""} {
		if got := firstLine(errors.New(text)).Error(); got != want {
			t.Errorf("firstLine(%q) = %q, want %q", text, got, want)
		}
	}
}

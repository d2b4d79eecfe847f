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

func TestFirstLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"one": "one", "one\ntwo": "one …", "": ""} {
		if got := firstLine(errors.New(text)).Error(); got != want {
			t.Errorf("firstLine(%q) = %q, want %q", text, got, want)
		}
	}
}

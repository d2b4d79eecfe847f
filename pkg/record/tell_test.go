package record

import (
	"testing"
	"time"
)

func TestWhatIsToldIsNewAndNotTooSoon(t *testing.T) {
	t.Parallel()
	r := &Record{}
	for _, c := range []struct {
		name, text string
		later      bool // a second has passed
		want       bool
	}{
		{"the first", "a", false, true},
		{"too soon", "b", false, false},
		{"nothing new", "a", true, false},
		{"something new", "b", true, true},
		{"back to the first", "a", true, true},
	} {
		if c.later {
			r.lastTold = time.Time{}
		}
		if got := r.due([]byte(c.text)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

package flag

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a Go duration that must not be negative. The zero value is 0s.
type Duration struct {
	// Value is the duration.
	Value time.Duration
}

// Set parses s. Days, which Go doesn't know, get a hint with the hours.
func (d *Duration) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration; hint: %s", s, durationHint(s))
	}
	if v < 0 {
		return fmt.Errorf("%q is negative; hint: durations count from now on, as in 720h", s)
	}
	d.Value = v
	return nil
}

func durationHint(s string) string {
	if number, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.Atoi(number); err == nil && days > 0 {
			if days == 1 {
				return "write 24h for a day"
			}
			return fmt.Sprintf("write %dh for %d days", days*24, days)
		}
	}
	return "units are h, m and s, as in 720h (30 days) or 1h30m"
}

// String gives the duration in Go's format.
func (d *Duration) String() string { return d.Value.String() }

// Type is the name that help shows.
func (d *Duration) Type() string { return "duration" }

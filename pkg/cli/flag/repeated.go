package flag

import (
	"slices"
	"strings"
)

// Repeated is a comma separated list to which every use of the flag adds: that of
// a flag that Velero doesn't have, or that adds up there too. Blanks around an entry, empty entries and
// repetitions are dropped. The zero value is an empty list.
type Repeated []string

// Set adds the entries of s. It never fails.
func (r *Repeated) Set(s string) error {
	for entry := range strings.SplitSeq(s, ",") {
		if entry = strings.TrimSpace(entry); entry != "" && !slices.Contains(*r, entry) {
			*r = append(*r, entry)
		}
	}
	return nil
}

// String gives the entries separated by commas.
func (r *Repeated) String() string { return strings.Join(*r, ",") }

// Type is the name that help shows.
func (r *Repeated) Type() string { return "strings" }

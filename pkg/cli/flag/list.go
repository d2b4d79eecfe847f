package flag

import "strings"

// List is a comma separated list. A repeated flag replaces the earlier value,
// as it does in Velero, instead of appending to it. Blanks around an entry and
// empty entries are dropped. The zero value is an empty list.
type List []string

// Set replaces the list by the entries of s. It never fails.
func (l *List) Set(s string) error {
	*l = nil
	for entry := range strings.SplitSeq(s, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			*l = append(*l, entry)
		}
	}
	return nil
}

// String gives the entries separated by commas.
func (l *List) String() string { return strings.Join(*l, ",") }

// Type is the name that help shows.
func (l *List) Type() string { return "stringArray" }

package cli

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/spelling"
)

// mostNear is how many names a hint has.
const mostNear = 5

// near returns the few of names that are most like word, the nearest first;
// none where nothing is like it.
func near(word string, names []string) []string {
	word = strings.ToLower(word)
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	for _, name := range names {
		lower := strings.ToLower(name)
		// A word is often the beginning of what was meant.
		d := min(spelling.Distance(word, lower), spelling.Distance(word, lower[:min(len(word), len(lower))])+1)
		if strings.Contains(lower, word) || d <= max(len(word), 4)/2 {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	out := make([]string, 0, mostNear)
	for _, c := range found[:min(mostNear, len(found))] {
		out = append(out, c.name)
	}
	return out
}

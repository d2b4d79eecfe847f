package describe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// actionOrder is how the words for what became of an object follow each other;
// others come after them.
var actionOrder = []string{"created", "updated", "recreated", "skipped", "failed"}

// actions count the objects of a restore by what became of them.
type actions map[string]int

// actionsOf counts the objects of a resource list, all together and by kind.
func actionsOf(list map[string][]string) (all actions, kinds map[string]actions) {
	all, kinds = actions{}, make(map[string]actions, len(list))
	for kind, entries := range list {
		kinds[kind] = actions{}
		for _, entry := range entries {
			word := actionOf(entry)
			all[word]++
			kinds[kind][word]++
		}
	}
	return all, kinds
}

// actionOf is the word behind the name in "shop/web(created)". Names may have
// parentheses, too.
func actionOf(entry string) string {
	return strings.TrimSuffix(entry[strings.LastIndex(entry, "(")+1:], ")")
}

// words are the actions that occurred, in order.
func (a actions) words() []string {
	rank := func(word string) int {
		if i := slices.Index(actionOrder, word); i >= 0 {
			return i
		}
		return len(actionOrder)
	}
	return slices.SortedFunc(maps.Keys(a), func(x, y string) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x, y))
	})
}

// outcome writes how many objects of each kind came to which end.
func (r Restore) outcome(l *layout) {
	if r.ResourceList.Value == nil {
		return
	}
	all, kinds := actionsOf(*r.ResourceList.Value)
	words := all.words()
	row := func(kind string, counts actions) {
		cells := []any{kind}
		for _, word := range words {
			cells = append(cells, counts[word])
		}
		l.inner().row(cells...)
	}
	l.head("Outcome")
	head := []any{"KIND"}
	for _, word := range words {
		head = append(head, strings.ToUpper(word))
	}
	l.inner().row(head...)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		row(kind, kinds[kind])
	}
	row("all", all)
	if all["skipped"] > 0 {
		l.inner().text(fmt.Sprintf("Why objects were skipped: %s restore logs %s", r.Program, r.Restore.Name))
	}
	l.blank()
}

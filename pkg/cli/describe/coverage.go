package describe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// coverage writes what became of each kind: first those that are missing from
// the backup although they were asked for, then those with objects. All others
// are a number.
func (l *layout) coverage(c Fetched[report.Coverage]) {
	switch {
	case c.Err != nil:
		l.line("Coverage", "not read: "+c.Err.Error())
	case c.Missing:
		l.line("Coverage", "<not recorded, as in backups by Velero>")
	case c.Value == nil:
		return
	default:
		l.missingKinds(c.Value.Kinds)
		l.head("Coverage")
		l.inner().kindTable(c.Value.Kinds)
	}
	l.blank()
}

// missing reports whether objects of the kind may be missing from the backup
// although they were asked for.
func missing(k report.KindCoverage) bool {
	return k.State == report.KindForbidden || k.State == report.KindFailed
}

func (l *layout) missingKinds(kinds []report.KindCoverage) {
	var problems []report.KindCoverage
	for _, k := range sortedKinds(kinds) {
		if missing(k) {
			problems = append(problems, k)
		}
	}
	if len(problems) == 0 {
		return
	}
	l.head(fmt.Sprintf("NOT FULLY BACKED UP (%s)", counted(len(problems), "kind")))
	for _, k := range problems {
		why := whyMissing(k)
		if k.Stored > 0 {
			why += fmt.Sprintf("\n%s stored before that", counted(k.Stored, "object"))
		}
		l.inner().line(k.Resource, why)
	}
	l.blank()
}

// whyMissing is the reason without the words that stand before it in the line
// already, and with the state where the reason doesn't name it.
func whyMissing(k report.KindCoverage) string {
	text := k.Reason
	if doing, rest, ok := strings.Cut(text, ": "); ok && strings.HasPrefix(doing, "list ") {
		text = rest
	}
	switch {
	case text == "":
		return string(k.State)
	case !strings.Contains(text, string(k.State)):
		text = string(k.State) + ": " + text
	}
	return reason(text)
}

// kindTable has a line for each kind of which objects were seen.
func (l *layout) kindTable(kinds []report.KindCoverage) {
	l.row("KIND", "LISTED", "RELATED", "STORED", "SIZE", "SKIPPED")
	rest := map[report.KindState]int{}
	var total report.KindCoverage
	for _, k := range sortedKinds(kinds) {
		if k.Listed+k.Related+k.Stored == 0 {
			rest[k.State]++
			continue
		}
		total.Listed += k.Listed
		total.Related += k.Related
		total.Stored += k.Stored
		total.Bytes += k.Bytes
		l.row(k.Resource, k.Listed, k.Related, k.Stored, size(k.Bytes), skips(k.Skipped))
	}
	l.row("all", total.Listed, total.Related, total.Stored, size(total.Bytes))
	if text := restText(rest); text != "" {
		l.text("Kinds without objects here: " + text)
	}
}

// restText counts the kinds that have no line, but for those that are missing.
func restText(rest map[report.KindState]int) string {
	var parts []string
	for _, word := range []struct {
		state report.KindState
		means string
	}{
		{report.KindListed, "empty"},
		{report.KindExcluded, "not selected"},
		{report.KindNotListable, "that can't be listed"},
	} {
		if n := rest[word.state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, word.means))
		}
	}
	return strings.Join(parts, ", ")
}

// skips says how many objects were left out, and why.
func skips(reasons map[string]int) string {
	total, texts := 0, []string{}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		total += reasons[why]
		texts = append(texts, fmt.Sprintf("%d %s", reasons[why], why))
	}
	if total == 0 {
		return "0"
	}
	return strings.Join(texts, ", ")
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const kibibyte = 1 << 10
	if bytes < kibibyte {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes), -1
	for ; value >= kibibyte && unit < len(units)-1; unit++ {
		value /= kibibyte
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}

var units = []string{"KiB", "MiB", "GiB", "TiB"}

// sortedKinds orders kinds by name. One that is covered in several versions is
// named with each.
func sortedKinds(kinds []report.KindCoverage) []report.KindCoverage {
	versions := map[string]int{}
	for _, k := range kinds {
		versions[k.Resource]++
	}
	sorted := slices.SortedFunc(slices.Values(kinds), func(a, b report.KindCoverage) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Version, b.Version))
	})
	for i, k := range sorted {
		if versions[k.Resource] > 1 {
			sorted[i].Resource += " (" + k.Version + ")"
		}
	}
	return sorted
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

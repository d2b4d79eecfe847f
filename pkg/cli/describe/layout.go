package describe

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// layout writes labels and values in aligned columns; a blank line ends a
// block of columns. Errors of the writer come out of flush.
type layout struct {
	tabs   *tabwriter.Writer
	indent string
}

func newLayout(w io.Writer) *layout {
	const minWidth, tabWidth, padding = 0, 8, 2
	return &layout{tabs: tabwriter.NewWriter(w, minWidth, tabWidth, padding, ' ', 0)}
}

func (l *layout) flush() error { return l.tabs.Flush() }

// inner is the layout two columns further to the right.
func (l *layout) inner() *layout { return &layout{tabs: l.tabs, indent: l.indent + "  "} }

func (l *layout) blank() { fmt.Fprintln(l.tabs) }

// line writes one label with its value; further lines of the value are aligned
// below the first.
func (l *layout) line(label string, value any) {
	text := strings.ReplaceAll(fmt.Sprint(value), "\n", "\n"+l.indent+"\t")
	fmt.Fprintf(l.tabs, "%s%s:\t%s\n", l.indent, label, text)
}

// note writes a label with a value that isn't aligned with others.
func (l *layout) note(label string, value any) {
	fmt.Fprintf(l.tabs, "%s%s: %v\n", l.indent, label, value)
}

// head writes a label that others stand under.
func (l *layout) head(label string) { fmt.Fprintf(l.tabs, "%s%s:\n", l.indent, label) }

// text writes a line without a label.
func (l *layout) text(s string) { fmt.Fprintf(l.tabs, "%s%s\n", l.indent, s) }

// row writes the cells of a line of a table.
func (l *layout) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintf(l.tabs, "%s%s\n", l.indent, strings.Join(texts, "\t"))
}

// pairs writes a map, one pair a line, sorted.
func (l *layout) pairs(label string, m map[string]string, separator string) {
	lines := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, k+separator+m[k])
	}
	l.line(label, orNone(strings.Join(lines, "\n")))
}

// metadata is the first block of every description.
func (l *layout) metadata(meta *metav1.ObjectMeta) {
	l.line("Name", meta.Name)
	l.line("Namespace", meta.Namespace)
	l.pairs("Labels", meta.Labels, "=")
	annotations := maps.Clone(meta.Annotations)
	// They stand below the phase.
	delete(annotations, velerov1.TopCausesAnnotation)
	l.pairs("Annotations", annotations, "=")
	l.blank()
}

// lists writes what is included and excluded under a heading.
func (l *layout) lists(heading string, included, excluded []string, all string) *layout {
	l.head(heading)
	in := l.inner()
	in.line("Included", orElse(strings.Join(included, ", "), all))
	in.line("Excluded", orNone(strings.Join(excluded, ", ")))
	return in
}

func orNone(s string) string { return orElse(s, "<none>") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// tristate names a boolean that may be unset.
func tristate(b *bool, yes, no, unset string) string {
	switch {
	case b == nil:
		return unset
	case *b:
		return yes
	}
	return no
}

func timestamp(t *metav1.Time) string {
	if t == nil || t.IsZero() {
		return "<n/a>"
	}
	return t.String()
}

// period is a duration that has a default when it is zero.
func period(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// What Velero does where a spec leaves a duration open.
const (
	defaultTTL                  = 720 * time.Hour
	defaultCSISnapshotTimeout   = 10 * time.Minute
	defaultItemOperationTimeout = 4 * time.Hour
)

func orSelectors(selectors []*metav1.LabelSelector) string {
	texts := make([]string, len(selectors))
	for i, s := range selectors {
		texts[i] = metav1.FormatLabelSelector(s)
	}
	return orNone(strings.Join(texts, " or "))
}

// reason splits a reason from its hints, one line each.
func reason(s string) string { return strings.ReplaceAll(s, "; hint: ", "\nhint: ") }

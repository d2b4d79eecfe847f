package describe

import (
	"maps"
	"slices"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Standing is what Job and pod say about an operation, beside its record.
type Standing struct {
	// Job is the name of its Job; empty when there is none.
	Job string
	// Cause is what holds it up; empty when nothing does.
	Cause string
	// Reasons are why it failed, the most important first.
	Reasons []string
}

// write adds the lines that Velero's descriptions don't have.
func (s Standing) write(l *layout) {
	for i, r := range s.Reasons {
		label := "Reason"
		if i > 0 {
			label = "Also"
		}
		l.line(label, reason(r))
	}
	if s.Cause != "" {
		l.line("Held up by", reason(s.Cause))
	}
	if s.Job != "" {
		l.line("Job", s.Job)
	}
}

// Fetched is something out of the bucket. The zero value was not asked for.
type Fetched[T any] struct {
	// Value is what was read, nil when it wasn't.
	Value *T
	// Err is why it couldn't be read.
	Err error
	// Missing says that it isn't in the bucket.
	Missing bool
}

// results writes the warnings and errors of an operation, or their numbers when
// the lists could not be read.
func (l *layout) results(warnings, errors int, results Fetched[report.Results]) {
	if warnings == 0 && errors == 0 {
		return
	}
	if results.Value == nil {
		l.line("Errors", errors)
		l.line("Warnings", warnings)
		if results.Err != nil {
			l.line("Lists not read", results.Err)
		}
		l.blank()
		return
	}
	if warnings > 0 {
		l.result("Warnings", results.Value.Warnings)
		l.blank()
	}
	if errors > 0 {
		l.result("Errors", results.Value.Errors)
		l.blank()
	}
}

func (l *layout) result(label string, r report.Result) {
	l.head(label)
	in := l.inner()
	in.line("Velero", orNone(strings.Join(r.Velero, "\n")))
	in.line("Cluster", orNone(strings.Join(r.Cluster, "\n")))
	if len(r.Namespaces) == 0 {
		in.line("Namespaces", "<none>")
		return
	}
	in.head("Namespaces")
	for _, ns := range slices.Sorted(maps.Keys(r.Namespaces)) {
		in.inner().line(ns, strings.Join(r.Namespaces[ns], "\n"))
	}
}

func (l *layout) hookStatus(h *velerov1.HookStatus) {
	l.line("HooksAttempted", h.HooksAttempted)
	l.line("HooksFailed", h.HooksFailed)
}

// resourceList writes every object that was dealt with, kind by kind.
func (l *layout) resourceList(list Fetched[map[string][]string]) {
	switch {
	case list.Err != nil:
		l.line("Resource List", "not read: "+list.Err.Error())
	case list.Missing:
		l.line("Resource List", "<not in the bucket>")
	case list.Value == nil:
		return
	default:
		l.names(*list.Value)
	}
	l.blank()
}

func (l *layout) names(list map[string][]string) {
	l.head("Resource List")
	in := l.inner()
	for _, kind := range slices.Sorted(maps.Keys(list)) {
		in.head(kind)
		for _, name := range list[kind] {
			in.inner().text("- " + name)
		}
	}
}

// Package report collects what became of each object of an operation. The
// report turns into the results object in the bucket, the counts in the status,
// the termination message and the exit code. It writes nothing itself.
package report

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
)

// Level says how bad an entry is.
type Level int

const (
	// Warning is worth reading; the operation is complete all the same.
	Warning Level = iota
	// Error means that something asked for was not done.
	Error
)

// Result lists messages by where they belong. Its JSON is that of the results
// objects in a bucket (Velero 1.11 and later).
type Result struct {
	// Velero holds messages about the operation itself.
	Velero []string `json:"velero,omitempty"`
	// Cluster holds messages about cluster-scoped objects.
	Cluster []string `json:"cluster,omitempty"`
	// Namespaces holds messages about namespaced objects, by namespace.
	Namespaces map[string][]string `json:"namespaces,omitempty"`
}

// Results is the content of a results object.
type Results struct {
	Warnings Result `json:"warnings"`
	Errors   Result `json:"errors"`
}

// Report collects entries. It is safe for concurrent use; the zero value is not
// ready, see New.
type Report struct {
	mu        sync.Mutex
	results   Results
	warnings  int
	errors    int
	items     map[string]*names // by apiVersion/Kind
	itemCount int
	once      *seen // entries of items; nil when the caller counts each once
	causes    map[string]int
	text      func(Level, ref.Object, error) string
	log       *slog.Logger
}

// LogTo also writes every entry into a log, where people look for it, and
// returns r. It comes before the first entry.
func (r *Report) LogTo(log *slog.Logger) *Report {
	r.log = log
	return r
}

// New returns an empty report of a backup.
func New() *Report { return newReport(backupText) }

// NewRestore returns an empty report of a restore. It differs in the texts of
// the results object, which are bare.
func NewRestore() *Report {
	r := newReport(restoreText)
	r.once = newSeen()
	return r
}

func newReport(text func(Level, ref.Object, error) string) *Report {
	return &Report{items: map[string]*names{}, causes: map[string]int{}, text: text}
}

// Add records err about obj. An entry about the zero object is about the
// operation itself.
func (r *Report) Add(level Level, obj ref.Object, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := &r.results.Warnings
	if level == Error {
		result = &r.results.Errors
		r.errors++
		r.causes[err.Error()]++
	} else {
		r.warnings++
	}
	result.add(obj, r.text(level, obj, err))
	if r.log != nil {
		r.log.LogAttrs(context.Background(), level.slog(), err.Error(), attributes(obj)...)
	}
}

func (l Level) slog() slog.Level {
	if l == Error {
		return slog.LevelError
	}
	return slog.LevelWarn
}

// attributes name the object that an entry is about.
func attributes(obj ref.Object) []slog.Attr {
	if obj.IsZero() {
		return nil
	}
	return []slog.Attr{
		slog.String("resource", obj.Resource.GroupResource().String()),
		slog.String("namespace", obj.Namespace), slog.String("name", obj.Name),
	}
}

// backupText has the shape that Velero gives to entries of a backup, which is
// what scripts look for.
func backupText(_ Level, obj ref.Object, err error) string {
	if obj.IsZero() {
		return " message: /" + err.Error()
	}
	return fmt.Sprintf(" resource: /%s name: /%s message: /%s", obj.Resource.GroupResource(), obj.Name, err)
}

// restoreText is the bare text, with the object in front.
func restoreText(level Level, obj ref.Object, err error) string {
	switch {
	case obj.IsZero():
		return err.Error()
	case level == Error:
		return fmt.Sprintf("error restoring %s: %s", obj, err)
	}
	return fmt.Sprintf("%s: %s", obj, err)
}

func (r *Result) add(obj ref.Object, text string) {
	switch {
	case obj.IsZero():
		r.Velero = append(r.Velero, text)
	case obj.Namespace == "":
		r.Cluster = append(r.Cluster, text)
	default:
		if r.Namespaces == nil {
			r.Namespaces = map[string][]string{}
		}
		r.Namespaces[obj.Namespace] = append(r.Namespaces[obj.Namespace], text)
	}
}

// Item notes an object for the resource list of a backup. Each must be noted
// once: a backup of very many objects has no room to remember them twice.
func (r *Report) Item(gvk schema.GroupVersionKind, namespace, name string) {
	r.note(gvk, qualified(namespace, name))
}

// RestoredItem notes an object for the resource list of a restore; action is
// created, updated, failed or skipped. Noted again, it counts once.
func (r *Report) RestoredItem(gvk schema.GroupVersionKind, namespace, name, action string) {
	r.note(gvk, qualified(namespace, name)+"("+action+")")
}

func (r *Report) note(gvk schema.GroupVersionKind, entry string) {
	apiVersion, kind := gvk.ToAPIVersionAndKind()
	key := apiVersion + "/" + kind
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.once != nil && !r.once.add(key+"/"+entry) {
		return
	}
	if r.items[key] == nil {
		r.items[key] = &names{}
	}
	r.items[key].add(entry)
	r.itemCount++
}

func qualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// Warnings is the number of warnings so far.
func (r *Report) Warnings() int { r.mu.Lock(); defer r.mu.Unlock(); return r.warnings }

// Errors is the number of errors so far.
func (r *Report) Errors() int { r.mu.Lock(); defer r.mu.Unlock(); return r.errors }

// Items is the number of distinct objects noted so far.
func (r *Report) Items() int { r.mu.Lock(); defer r.mu.Unlock(); return r.itemCount }

// Results returns a copy of the entries, in the order in which they came.
func (r *Report) Results() Results {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Results{Warnings: r.results.Warnings.clone(), Errors: r.results.Errors.clone()}
}

func (r Result) clone() Result {
	out := Result{Velero: slices.Clone(r.Velero), Cluster: slices.Clone(r.Cluster)}
	for ns, list := range r.Namespaces {
		if out.Namespaces == nil {
			out.Namespaces = map[string][]string{}
		}
		out.Namespaces[ns] = slices.Clone(list)
	}
	return out
}

// WriteResourceList writes the content of a resource-list object: a JSON map of
// "apiVersion/Kind" to the sorted names.
func (r *Report) WriteResourceList(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	separator := "{"
	for _, key := range slices.Sorted(maps.Keys(r.items)) {
		encodedKey, err := json.Marshal(key)
		if err != nil {
			return fmt.Errorf("encode resource list: %w", err)
		}
		encoded, err := json.Marshal(r.items[key].sorted())
		if err != nil {
			return fmt.Errorf("encode resource list: %w", err)
		}
		if _, err := fmt.Fprintf(w, "%s%s:%s", separator, encodedKey, encoded); err != nil {
			return err
		}
		separator = ","
	}
	if len(r.items) > 0 {
		separator = ""
	}
	_, err := io.WriteString(w, separator+"}\n")
	return err
}

// TopCauses returns the n most frequent error texts, the most frequent first,
// each with its count when it occurred more than once.
func (r *Report) TopCauses(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := make([]string, 0, len(r.causes))
	for text := range r.causes {
		texts = append(texts, text)
	}
	slices.SortFunc(texts, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.causes[b], r.causes[a]), cmp.Compare(a, b))
	})
	texts = texts[:min(n, len(texts))]
	for i, text := range texts {
		if count := r.causes[text]; count > 1 {
			texts[i] = fmt.Sprintf("%s (%d times)", text, count)
		}
	}
	return texts
}

package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// exam is one examination of a location.
type exam struct {
	location *velerov1.BackupStorageLocation
	provider string // one of settings' constants
	bucket   store.Bucket
	// clusterID is this cluster's; empty when it isn't known.
	clusterID string
	size      int64 // of the large probe, in bytes
	// tell gets each result; running the name of what is being done.
	tell    func(report.Check)
	running func(name string)

	result report.LocationCheck
	// reachErr is why the bucket could not be reached or listed; nil when it could.
	reachErr error
	// works says that the store has answered a request with success, so that a
	// refusal is a missing right and not a wrong password.
	works bool

	inspection store.Inspection
	foreign    []string // folders that aren't Velero's
	stored     string   // the name of a backup; empty when there is none

	probe   string          // key of the first probe; the others' begin with it
	touched map[string]bool // keys of probes that may be there
	exists  bool            // the first probe is there, with body
	body    []byte
	large   written // what is in the large probe
	reads   []time.Duration
	writes  []time.Duration
	// tidied says that the probes have been removed, as far as that is possible.
	tidied bool
	// silent counts the checks in a row in which the store didn't answer.
	silent int
}

// probePrefix begins the names of the objects that a check writes.
const probePrefix = "kubectl-velero-probe-"

func newExam(location *velerov1.BackupStorageLocation) *exam {
	e := &exam{
		location: location,
		probe:    probePrefix + strings.ToLower(rand.Text()[:10]),
		touched:  map[string]bool{},
		tell:     func(report.Check) {}, running: func(string) {},
	}
	// What an unknown provider is called doesn't matter: it can't be opened.
	e.provider, _ = settings.Provider(location.Spec.Provider)
	e.result = report.LocationCheck{
		Location: location.Name, Provider: location.Spec.Provider, Checks: []report.Check{},
		AccessMode: string(velerov1.BackupStorageLocationAccessModeReadWrite),
	}
	if location.Spec.AccessMode != "" {
		e.result.AccessMode = string(location.Spec.AccessMode)
	}
	if o := location.Spec.ObjectStorage; o != nil {
		e.result.Bucket, e.result.Prefix = o.Bucket, strings.Trim(o.Prefix, "/")
	}
	return e
}

// step is one check.
type step struct {
	name string
	do   func(*exam, context.Context) (report.Check, error)
	// writes says that it isn't made where nothing may be written.
	writes bool
	// slow says that it bounds itself, if at all.
	slow bool
	// vital means that a failure says that the bucket is out of reach, which ends
	// the examination, unless it is a right that is missing and mayLack is set.
	vital, mayLack bool
}

// steps are in the order in which they are made: what others rely on comes first.
var steps = []step{
	{name: "connect", do: (*exam).connect, vital: true},
	{name: "list", do: (*exam).list, vital: true, mayLack: true},
	{name: "folders", do: (*exam).foreignFolders},
	{name: "clock", do: (*exam).clock},
	{name: "versioning", do: (*exam).versioning},
	{name: "lock", do: (*exam).lock},
	{name: "backups", do: (*exam).backups, slow: true},
	{name: "uploads", do: (*exam).uploads},
	{name: "old-probes", do: (*exam).oldProbes},
	{name: "create", do: (*exam).create, writes: true},
	{name: "create-if-absent", do: (*exam).createTwice, writes: true},
	{name: "concurrent-create", do: (*exam).createTogether, writes: true},
	{name: "read", do: (*exam).read},
	{name: "range", do: (*exam).readRange},
	{name: "replace", do: (*exam).replace, writes: true},
	{name: "upload", do: (*exam).upload, writes: true, slow: true},
	{name: "download", do: (*exam).download, slow: true},
	{name: "cut-upload", do: (*exam).cutUpload, writes: true, slow: true},
	{name: "latency", do: (*exam).latency},
	{name: "delete", do: (*exam).remove, writes: true},
}

const (
	// cleanUpTimeout is what removing the probes may take when ctx has ended.
	cleanUpTimeout = 15 * time.Second
	// stepTimeout bounds a step that transfers little.
	stepTimeout = 90 * time.Second
)

// run makes the checks. Probes are removed also when ctx ends.
func (e *exam) run(ctx context.Context) {
	defer e.cleanUp(ctx)
	for _, s := range steps {
		if ctx.Err() != nil {
			e.result.Interrupted = whyEnded(ctx)
			return
		}
		if !e.make(ctx, s) {
			return
		}
	}
}

// whyEnded says why ctx, which has ended, did so.
func whyEnded(ctx context.Context) string {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause.Error()
	}
	return "it was stopped"
}

// make makes one check and says whether to go on.
func (e *exam) make(ctx context.Context, s step) bool {
	if s.writes && e.readOnly() {
		e.add(s.name, skipped("the location is read-only"))
		return true
	}
	e.running(s.name)
	result, err := e.bounded(ctx, s)
	switch {
	case ctx.Err() != nil && err != nil:
		e.result.Interrupted = whyEnded(ctx)
		return false
	case err == nil:
		e.silent = 0
		e.add(s.name, result)
		return true
	case s.vital && e.reachErr == nil:
		e.reachErr = err
	}
	e.add(s.name, e.failure(s.name, err))
	return e.goesOn(s, err)
}

// mostSilent is how many checks in a row may end without an answer: each takes the
// store's patience.
const mostSilent = 2

// goesOn says whether there is more to learn after a failure: not where the bucket
// is out of reach, or has gone, and not where it lets us do nothing.
func (e *exam) goesOn(s step, err error) bool {
	denied := errors.Is(err, store.ErrDenied)
	if errors.Is(err, store.ErrUnavailable) {
		e.silent++
	}
	switch {
	case e.silent >= mostSilent:
		e.result.Interrupted = "the storage doesn't answer any more"
		return false
	case s.vital:
		return denied && s.mayLack
	case s.name == "create":
		return e.works || !denied
	}
	return true
}

var errSlow = fmt.Errorf("it took longer than %s", stepTimeout)

func (e *exam) bounded(ctx context.Context, s step) (report.Check, error) {
	if !s.slow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, stepTimeout, errSlow)
		defer cancel()
	}
	return s.do(e, ctx)
}

func (e *exam) readOnly() bool {
	return e.result.AccessMode == string(velerov1.BackupStorageLocationAccessModeReadOnly)
}

// add notes a result. One without a status is about nothing.
func (e *exam) add(name string, c report.Check) {
	if c.Status == "" {
		return
	}
	c.Name = name
	e.result.Checks = append(e.result.Checks, c)
	e.tell(c)
}

// failure is the check that err ended. The store's own hint says all that may be
// wrong; once something has worked, a refusal can only be a right.
func (e *exam) failure(name string, err error) report.Check {
	text, hint := splitHint(err)
	if errors.Is(err, store.ErrDenied) && e.works {
		hint = e.rightHint(name)
	}
	return report.Check{Status: report.CheckFailed, Text: text, Hint: hint}
}

// splitHint cuts what an error asks for off what it says.
func splitHint(err error) (text, hint string) {
	text, hint, _ = strings.Cut(err.Error(), "; hint: ")
	return text, hint
}

func passed(format string, args ...any) report.Check {
	return report.Check{Status: report.CheckOK, Text: fmt.Sprintf(format, args...)}
}

func skipped(text string) report.Check { return report.Check{Status: report.CheckSkipped, Text: text} }

func warning(text, hint string) report.Check {
	return report.Check{Status: report.CheckWarning, Text: text, Hint: hint}
}

// quantity is a number of things.
func quantity(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

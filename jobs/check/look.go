package check

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// connect asks the server for what it says of the bucket.
func (e *exam) connect(ctx context.Context) (report.Check, error) {
	inspector, ok := e.bucket.(store.Inspector)
	if !ok {
		return report.Check{}, nil
	}
	begun := time.Now()
	found, err := inspector.Inspect(ctx)
	if err != nil {
		return report.Check{}, err
	}
	e.inspection, e.result.Endpoint = found, found.Endpoint
	return passed("%s answers, after %s", found.Endpoint, rounded(time.Since(begun))), nil
}

func (e *exam) list(ctx context.Context) (report.Check, error) {
	foreign, err := catalog.New(e.bucket).ForeignFolders(ctx)
	if err != nil {
		return report.Check{}, err
	}
	e.works, e.foreign = true, foreign
	return passed("the account may list what is there"), nil
}

// foreignFolders names those with which Velero calls a location unavailable.
func (e *exam) foreignFolders(context.Context) (report.Check, error) {
	foreign := e.foreign
	switch {
	case e.reachErr != nil:
		return report.Check{}, nil
	case len(foreign) == 0:
		return passed("no folder that isn't Velero's"), nil
	}
	const most = 3
	names := make([]string, 0, most+1)
	for _, name := range foreign[:min(len(foreign), most)] {
		names = append(names, fmt.Sprintf("%q", name))
	}
	if more := len(foreign) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return warning(
		fmt.Sprintf("a Velero server would call this location unavailable, because of folders that aren't its own: %s", strings.Join(names, ", ")),
		"give the location a prefix of its own, or move them elsewhere; this program doesn't mind them"), nil
}

// clockTolerance is what nobody minds; servers refuse requests that are a quarter
// of an hour off.
const clockTolerance = 30 * time.Second

func (e *exam) clock(context.Context) (report.Check, error) {
	server, local := e.inspection.ServerTime, e.inspection.LocalTime
	if server.IsZero() || local.IsZero() {
		return skipped("the server doesn't tell its time"), nil
	}
	skew := server.Sub(local)
	e.result.Measured.ClockSkewSeconds = skew.Seconds()
	// The server tells whole seconds.
	if skew.Abs() <= 2*time.Second {
		return passed("the server's and the node's clocks agree"), nil
	}
	text := fmt.Sprintf("the server's clock is %s ahead of the node's", skew.Round(time.Second))
	if skew < 0 {
		text = fmt.Sprintf("the server's clock is %s behind the node's", (-skew).Round(time.Second))
	}
	if skew.Abs() > clockTolerance {
		return warning(text, "set both clocks, for instance by NTP: servers refuse requests that are 15 minutes off, and expiry and locks go by the clock"), nil
	}
	return passed("%s", text), nil
}

func (e *exam) versioning(context.Context) (report.Check, error) {
	switch e.inspection.Versioning {
	case store.Yes:
		c := passed("on: what is deleted or replaced stays as an older version")
		c.Hint = "a rule of the bucket that removes older versions frees the space that deleted backups take"
		return c, nil
	case store.No:
		return passed("off: what is deleted is gone"), nil
	}
	return skipped("the server doesn't tell, or this account may not ask"), nil
}

func (e *exam) lock(context.Context) (report.Check, error) {
	switch e.inspection.Lock {
	case store.Yes:
		rule := ""
		if e.inspection.LockRule != "" {
			rule = ": " + e.inspection.LockRule
		}
		c := passed("new objects are locked%s", rule)
		c.Hint = "an expired backup stays until its lock ends, and so do this check's probes"
		return c, nil
	case store.No:
		return passed("new objects are not locked"), nil
	}
	return skipped("the server doesn't tell, or this account may not ask"), nil
}

// uploadCounter is a bucket that can say what unfinished uploads it holds.
type uploadCounter interface {
	// PendingUploads counts those to keys that start with prefix, and says when
	// the oldest of them was begun.
	PendingUploads(ctx context.Context, prefix string) (count int, oldest time.Time, err error)
}

// oldUpload is the age from which an upload can't be one that runs.
const oldUpload = 24 * time.Hour

func (e *exam) uploads(ctx context.Context) (report.Check, error) {
	if !e.works {
		return report.Check{}, nil // check "list" has said so
	}
	counter, ok := e.bucket.(uploadCounter)
	if !ok {
		return skipped("this kind of storage doesn't tell of unfinished uploads"), nil
	}
	n, oldest, err := counter.PendingUploads(ctx, "")
	if errors.Is(err, store.ErrDenied) {
		text, _ := splitHint(err)
		return warning("unfinished uploads can't be found, so maintenance can't remove what they hold: "+text, e.rightHint("uploads")), nil
	}
	if err != nil {
		return report.Check{}, err
	}
	if n == 0 {
		return passed("no upload is unfinished"), nil
	}
	text := quantity(n, "unfinished upload")
	if oldest.IsZero() {
		return passed("%s", text), nil
	}
	text += ", the oldest of " + oldest.UTC().Format("2006-01-02 15:04:05 UTC")
	if time.Since(oldest) > oldUpload {
		return warning(text, "maintenance removes what an upload that died has left, of backups that don't run any more; it runs once an hour"), nil
	}
	return passed("%s", text), nil
}

// abandoned is the age from which a probe isn't one of a check that runs.
const abandoned = time.Hour

// oldProbes removes what earlier checks could not. There is nothing to say when
// they have left nothing.
func (e *exam) oldProbes(ctx context.Context) (report.Check, error) {
	if e.readOnly() {
		return report.Check{}, nil
	}
	var old []string
	for info, err := range e.bucket.List(ctx, probePrefix) {
		if err != nil {
			return report.Check{}, nil // check "list" has said so
		}
		if !info.ModTime.IsZero() && time.Since(info.ModTime) > abandoned && !strings.Contains(info.Key, "/") {
			old = append(old, info.Key)
		}
	}
	if len(old) == 0 {
		return report.Check{}, nil
	}
	var left []string
	var failed error
	for _, key := range old {
		if err := e.bucket.Delete(ctx, key); err != nil {
			left, failed = append(left, key), err
		}
	}
	if failed == nil {
		return passed("%s of earlier checks removed", quantity(len(old), "probe")), nil
	}
	e.leave(left)
	text, _ := splitHint(failed)
	return warning(fmt.Sprintf("%d of %s of earlier checks can't be removed: %s", len(left), quantity(len(old), "probe"), text), ""), nil
}

// leave notes probes that stay, and returns their keys in the bucket.
func (e *exam) leave(keys []string) []string {
	left := make([]string, 0, len(keys))
	for _, key := range keys {
		left = append(left, path.Join(e.result.Prefix, key))
	}
	e.result.Left = append(e.result.Left, left...)
	return left
}

// rounded is a duration that a person can compare.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second)
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}

package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// noProbe is why a check of what was written can't be made.
const noProbe = "there is no probe, since none could be written"

// content is what a probe says to whoever finds it.
func (e *exam) content(writer string) []byte {
	return fmt.Appendf(nil, "Probe %s of a check of a storage location (writer %s). It may be deleted.\n", e.probe, writer)
}

// createUnseen leaves it to the server whether an object that is there stays.
func (e *exam) createUnseen(ctx context.Context, key string, body []byte) error {
	if inspector, ok := e.bucket.(store.Inspector); ok {
		return inspector.CreateUnseen(ctx, key, body)
	}
	return e.bucket.Create(ctx, key, body)
}

// canProve says whether two writers can be tried: Create itself looks first.
func (e *exam) canProve() (report.Check, bool) {
	if !e.exists {
		return skipped(noProbe), false
	}
	if _, ok := e.bucket.(store.Inspector); !ok {
		return skipped("this kind of storage can't be asked"), false
	}
	return report.Check{}, true
}

func (e *exam) create(ctx context.Context) (report.Check, error) {
	e.body = e.content("one")
	e.touched[e.probe] = true
	begun := time.Now()
	err := e.createUnseen(ctx, e.probe, e.body)
	if errors.Is(err, store.ErrDenied) {
		delete(e.touched, e.probe) // whatever else goes wrong, it may be there
	}
	if errors.Is(err, store.ErrExists) {
		// An answer may get lost on the way, and the request be sent again.
		var there []byte
		if there, err = e.readAll(ctx, e.probe); err == nil && !bytes.Equal(there, e.body) {
			err = fmt.Errorf("%q was there, with other content", e.probe)
		}
	}
	if err != nil {
		return report.Check{}, err
	}
	e.works, e.exists = true, true
	e.writes = append(e.writes, time.Since(begun))
	return passed("the account may write: %q, which is removed at the end", e.probe), nil
}

// createTwice proves that what is there can't be taken.
func (e *exam) createTwice(ctx context.Context) (report.Check, error) {
	if c, ok := e.canProve(); !ok {
		return c, nil
	}
	second := e.content("two")
	err := e.createUnseen(ctx, e.probe, second)
	switch {
	case err == nil:
		e.body = second
		return e.unconditional("the server replaced an object that was to be created only if it is absent"), nil
	case !errors.Is(err, store.ErrExists):
		return report.Check{}, err
	}
	there, err := e.readAll(ctx, e.probe)
	if errors.Is(err, store.ErrDenied) {
		return passed("a second writer of the same name is refused"), nil // check "read" tells of it
	}
	if err != nil {
		return report.Check{}, err
	}
	if !bytes.Equal(there, e.body) {
		e.body = there
		return e.unconditional("the server refused the second writer of a name, and took what it wrote all the same"), nil
	}
	return passed("a second writer of the same name is refused"), nil
}

// unconditional is what a server that ignores the condition means: nothing, so
// long as one cluster alone writes there.
func (e *exam) unconditional(what string) report.Check {
	c := report.Check{
		Status: report.CheckWarning,
		Text:   what + ": two clusters could take one name for their backups",
		Hint:   "let only one cluster write below this prefix, or use a server that honours " + e.condition(),
	}
	if e.shared() {
		c.Status = report.CheckFailed
		c.Hint = "backups of several clusters lie there: give each cluster a prefix of its own, or use a server that honours " + e.condition()
	}
	return c
}

// condition is what a provider calls it.
func (e *exam) condition() string {
	switch e.provider {
	case settings.ProviderGCP:
		return "ifGenerationMatch=0"
	case settings.ProviderFilesystem:
		return "exclusive creation"
	}
	return "If-None-Match: *"
}

// togetherWriters is how many writers try for one name.
const togetherWriters = 8

// createTogether has several writers try for one name at the same moment.
func (e *exam) createTogether(ctx context.Context) (report.Check, error) {
	if c, ok := e.canProve(); !ok {
		return c, nil
	}
	key := e.probe + "-together"
	e.touched[key] = true
	errs := make([]error, togetherWriters)
	var writers sync.WaitGroup
	start := make(chan struct{})
	for i := range togetherWriters {
		writers.Go(func() {
			<-start
			errs[i] = e.createUnseen(ctx, key, e.content(fmt.Sprint(i)))
		})
	}
	close(start)
	writers.Wait()
	return e.judgeTogether(ctx, key, errs)
}

// judgeTogether looks for the one who won. None may have been told so, when the
// answer got lost; then what is there tells.
func (e *exam) judgeTogether(ctx context.Context, key string, errs []error) (report.Check, error) {
	var won []int
	var other error
	for i, err := range errs {
		switch {
		case err == nil:
			won = append(won, i)
		case !errors.Is(err, store.ErrExists):
			other = err
		}
	}
	if len(won) > 1 {
		return e.unconditional(fmt.Sprintf("of %d writers of one name at the same moment %d were told that it is theirs", togetherWriters, len(won))), nil
	}
	if len(won) == 0 && other != nil {
		return report.Check{}, other
	}
	there, err := e.readAll(ctx, key)
	switch {
	case errors.Is(err, store.ErrDenied):
	case err != nil:
		return report.Check{}, err
	case len(won) == 1 && !bytes.Equal(there, e.content(fmt.Sprint(won[0]))):
		return e.unconditional("of several writers of one name one was told that it is its, and another's content is there"), nil
	}
	return passed("of %d writers of one name at the same moment one wins", togetherWriters), nil
}

// maxProbe bounds what is read of an object that others may have written.
const maxProbe = 4 << 20

func (e *exam) readAll(ctx context.Context, key string) ([]byte, error) {
	r, err := e.bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, maxProbe))
	return body, errors.Join(err, r.Close())
}

// replace writes over what is there, as a Job that is started again does.
func (e *exam) replace(ctx context.Context) (report.Check, error) {
	if !e.exists {
		return skipped(noProbe), nil
	}
	body := e.content("three")
	begun := time.Now()
	err := e.bucket.Put(ctx, e.probe, bytes.NewReader(body))
	if errors.Is(err, store.ErrLocked) {
		text, _ := splitHint(err)
		return warning("nothing that is there may be replaced: "+text,
			"backups work; one whose Job has to start again fails with \"name used up\" and needs a new name"), nil
	}
	if err != nil {
		return report.Check{}, err
	}
	e.writes = append(e.writes, time.Since(begun))
	e.body = body
	there, err := e.readAll(ctx, e.probe)
	if err == nil && !bytes.Equal(there, body) {
		return report.Check{}, fmt.Errorf("%q was replaced, and reads as before", e.probe)
	}
	if err != nil && !errors.Is(err, store.ErrDenied) {
		return report.Check{}, err
	}
	return passed("what is there can be replaced, as a backup that starts again does"), nil
}

// readable is what the reading checks read: the probe, or where none could be
// written something of a backup. It is empty when there is neither.
func (e *exam) readable() string {
	switch {
	case e.exists:
		return e.probe
	case e.stored != "":
		return "backups/" + e.stored + "/velero-backup.json"
	}
	return ""
}

// read gets an object, and looks whether the list and a look at it agree.
func (e *exam) read(ctx context.Context) (report.Check, error) {
	key := e.readable()
	if key == "" {
		return skipped("there is nothing to read yet"), nil
	}
	body, err := e.readAll(ctx, key)
	if err != nil {
		return report.Check{}, err
	}
	if e.exists && !bytes.Equal(body, e.body) {
		return report.Check{}, fmt.Errorf("%q reads as %d bytes that aren't what was written", key, len(body))
	}
	e.works, e.body = true, body
	info, err := e.bucket.Stat(ctx, key)
	if err != nil {
		return report.Check{}, err
	}
	if info.Size != int64(len(body)) {
		return report.Check{}, fmt.Errorf("%q has %d bytes, and reads as %d", key, info.Size, len(body))
	}
	return e.listed(ctx, key)
}

// listed looks for the object in the list, in which it must stand at once.
func (e *exam) listed(ctx context.Context, key string) (report.Check, error) {
	for info, err := range e.bucket.List(ctx, key) {
		if errors.Is(err, store.ErrDenied) {
			break // check "list" has said so
		}
		if err != nil {
			return report.Check{}, err
		}
		if info.Key == key {
			return passed("what was written reads the same, and stands in the list at once"), nil
		}
	}
	if e.reachErr != nil {
		return passed("what was written reads the same"), nil
	}
	return warning(fmt.Sprintf("%q can be read and does not stand in the list", key),
		"a server that lists late makes backups appear late; `backup-location sync` finds them once they are listed"), nil
}

// leastRange is how long an object must be for its parts to differ.
const leastRange = 16

// readRange reads parts of an object.
func (e *exam) readRange(ctx context.Context) (report.Check, error) {
	key := e.readable()
	if key == "" || len(e.body) < leastRange {
		return report.Check{}, nil // check "read" tells of it
	}
	size := int64(len(e.body))
	for _, r := range []struct{ offset, length, want int64 }{
		{size / 3, size / 3, size / 3}, {size / 2, -1, size - size/2}, {size - 1, size, 1},
	} {
		body, err := e.readPart(ctx, key, r.offset, r.length)
		if err != nil {
			return report.Check{}, err
		}
		if !bytes.Equal(body, e.body[r.offset:r.offset+r.want]) {
			return report.Check{
				Status: report.CheckFailed,
				Text:   fmt.Sprintf("of %q bytes %d to %d were asked for, and %d others came", key, r.offset, r.offset+r.want-1, len(body)),
				Hint:   "the server, or a proxy before it, ignores ranges: restores of single objects need them",
			}, nil
		}
	}
	return passed("parts of an object can be read"), nil
}

func (e *exam) readPart(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	r, err := e.bucket.GetRange(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r, maxProbe))
	return body, errors.Join(err, r.Close())
}

// remove deletes the probes, and looks that they are gone.
func (e *exam) remove(ctx context.Context) (report.Check, error) {
	keys := e.probes()
	if len(keys) == 0 {
		return skipped(noProbe), nil
	}
	stay, first := e.removeAll(ctx, keys)
	if ctx.Err() != nil {
		return report.Check{}, ctx.Err() // cleanUp goes on
	}
	left := e.leave(stay)
	e.tidied = true
	switch {
	case first == nil && e.inspection.Versioning == store.Yes:
		return passed("the account may delete: the probes are gone, but for their older versions"), nil
	case first == nil:
		return passed("the account may delete: the probes are gone"), nil
	case errors.Is(first, store.ErrLocked):
		return warning(fmt.Sprintf("%s: %s", lockText(first, len(left)), strings.Join(left, ", ")),
			"that is what the lock is for; the next check after that removes them"), nil
	}
	c := e.failure("delete", first)
	c.Text = fmt.Sprintf("%s could not be removed: %s: %s", quantity(len(left), "probe"), strings.Join(left, ", "), c.Text)
	return c, nil
}

// lockText says for how long probes stay.
func lockText(err error, probes int) string {
	locked := (*store.LockedError)(nil)
	switch errors.As(err, &locked); {
	case locked != nil && locked.Hold:
		return quantity(probes, "probe") + " can't be deleted until a legal hold is taken off"
	case locked != nil && !locked.Until.IsZero():
		return quantity(probes, "probe") + " can't be deleted until " + locked.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	return quantity(probes, "probe") + " can't be deleted until their lock ends"
}

// removeAll deletes the probes and returns those that are still there.
func (e *exam) removeAll(ctx context.Context, keys []string) (stay []string, first error) {
	for _, key := range keys {
		err := e.bucket.Delete(ctx, key)
		if err == nil {
			err = e.gone(ctx, key)
		}
		if err == nil {
			delete(e.touched, key)
			continue
		}
		stay = append(stay, key)
		if first == nil {
			first = err
		}
	}
	return stay, first
}

// gone looks that an object isn't there. What may not be read counts as gone.
func (e *exam) gone(ctx context.Context, key string) error {
	_, err := e.bucket.Stat(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrDenied):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%q was deleted, and is still there", key)
}

package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	// defaultPart is how much of an upload goes in one request, in bytes, where
	// the location doesn't say.
	defaultPart = 16 << 20
	// DefaultSize is the size of the large probe: several parts.
	DefaultSize = 64 << 20
	// transferBudget is for how long a transfer goes on.
	transferBudget = 30 * time.Second
	// transferTimeout is what it may take in all: at its end there are still
	// parts on the way.
	transferTimeout = 3 * time.Minute
)

// written is what is in the large probe.
type written struct {
	seed [32]byte
	size int64
}

// stream is size bytes that can't be compressed, always the same for a seed.
func (w written) stream(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8(w.seed), size)
}

// until ends a stream early, when its time is over.
type until struct {
	io.Reader
	deadline time.Time
	n        int64 // bytes that were read
}

// Read ends with io.EOF at the deadline.
func (u *until) Read(p []byte) (int, error) {
	if time.Now().After(u.deadline) {
		return 0, io.EOF
	}
	n, err := u.Reader.Read(p)
	u.n += int64(n)
	return n, err
}

// partSize is how much goes in one request.
func (e *exam) partSize() int64 {
	if n, err := strconv.ParseInt(e.location.Spec.Config["partSizeMiB"], 10, 64); err == nil {
		return n << 20
	}
	if n, err := strconv.ParseInt(e.location.Spec.Config["blockSizeInBytes"], 10, 64); err == nil {
		return n
	}
	return defaultPart
}

// upload writes an object of several parts.
func (e *exam) upload(ctx context.Context) (report.Check, error) {
	switch {
	case !e.exists:
		return skipped(noProbe), nil
	case e.size <= 0:
		return skipped("not asked for"), nil
	}
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	key := e.probe + "-large"
	e.touched[key] = true
	copy(e.large.seed[:], e.probe)
	begun := time.Now()
	body := &until{Reader: e.large.stream(e.size), deadline: begun.Add(transferBudget)}
	if err := e.bucket.Put(ctx, key, body); err != nil {
		return report.Check{}, err
	}
	took := time.Since(begun)
	e.large.size = body.n
	e.result.Measured.UploadBytesPerSecond = report.Rate(body.n, took)
	info, err := e.bucket.Stat(ctx, key)
	if err == nil && info.Size != body.n {
		return report.Check{}, fmt.Errorf("%d bytes were uploaded to %q, and it has %d", body.n, key, info.Size)
	}
	text := speed(body.n, took)
	if part := e.partSize(); body.n > part && e.provider != settings.ProviderFilesystem {
		text += fmt.Sprintf(", in parts of %s", mebibytes(part))
	}
	return passed("%s", text), nil
}

// download reads the large probe back, or where there is none the beginning of a
// backup's archive.
func (e *exam) download(ctx context.Context) (report.Check, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	if e.large.size > 0 {
		return e.fetch(ctx, e.probe+"-large", e.large.stream(e.large.size))
	}
	if e.exists || e.size <= 0 {
		return report.Check{}, nil // check "upload" tells of it
	}
	if e.stored == "" {
		return report.Check{}, nil // check "read" tells of it
	}
	return e.fetch(ctx, "backups/"+e.stored+"/"+e.stored+".tar.gz", nil)
}

// fetch reads an object for a while; where there is something to compare, it must
// be the same.
func (e *exam) fetch(ctx context.Context, key string, want io.Reader) (report.Check, error) {
	begun := time.Now()
	r, err := e.bucket.Get(ctx, key)
	if err != nil {
		return report.Check{}, err
	}
	defer r.Close()
	body := &until{Reader: io.LimitReader(r, e.size), deadline: begun.Add(transferBudget)}
	to := io.Discard
	if want != nil {
		to = &comparer{want: want}
	}
	_, err = io.Copy(to, body)
	took := time.Since(begun)
	if err != nil {
		return report.Check{}, fmt.Errorf("read %q: %w", key, err)
	}
	if want != nil && body.n < e.large.size && took < transferBudget {
		return report.Check{}, fmt.Errorf("read %q: %d of %d bytes came", key, body.n, e.large.size)
	}
	e.result.Measured.DownloadBytesPerSecond = report.Rate(body.n, took)
	return passed("%s", speed(body.n, took)), nil
}

// comparer takes what must be the beginning of want.
type comparer struct {
	want   io.Reader
	at     int64
	expect [64 << 10]byte
}

// Write fails at the first difference.
func (c *comparer) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		m, err := io.ReadFull(c.want, c.expect[:min(len(p)-n, len(c.expect))])
		if err != nil || !bytes.Equal(p[n:n+m], c.expect[:m]) {
			return n, fmt.Errorf("from byte %d on it isn't what was written", c.at)
		}
		n, c.at = n+m, c.at+int64(m)
	}
	return len(p), nil
}

func speed(n int64, took time.Duration) string {
	return fmt.Sprintf("%s in %s: %.1f MB/s", mebibytes(n), rounded(took), report.Rate(n, took)/1e6)
}

func mebibytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// errCut breaks the stream of an upload.
var errCut = errors.New("broken off on purpose")

// cutReader is a stream that breaks.
type cutReader struct{ io.Reader }

func (c cutReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

// cutUpload breaks an upload off in its second part: nothing of it may be seen,
// and nothing stay.
func (e *exam) cutUpload(ctx context.Context) (report.Check, error) {
	if !e.exists || e.size <= 0 {
		return report.Check{}, nil // check "upload" tells of it
	}
	key := e.probe + "-cut"
	e.touched[key] = true
	err := e.bucket.Put(ctx, key, cutReader{written{}.stream(e.partSize() + 1)})
	switch {
	case err == nil:
		return report.Check{}, fmt.Errorf("an upload whose content broke off counts as done: %q", key)
	case !errors.Is(err, errCut):
		return report.Check{}, err
	}
	if _, err := e.bucket.Stat(ctx, key); !errors.Is(err, store.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("an upload that was broken off left an object: %q", key)
		}
		return report.Check{}, err
	}
	delete(e.touched, key)
	return e.cutUploadLeft(ctx, key)
}

// cutUploadLeft looks for parts that stayed.
func (e *exam) cutUploadLeft(ctx context.Context, key string) (report.Check, error) {
	counter, ok := e.bucket.(uploadCounter)
	if !ok {
		return passed("an upload that breaks off leaves no object"), nil
	}
	n, _, err := counter.PendingUploads(ctx, key)
	switch {
	case errors.Is(err, store.ErrDenied):
		return passed("an upload that breaks off leaves no object"), nil // check "uploads" tells of the right
	case err != nil:
		return report.Check{}, err
	case n > 0:
		return warning("what an upload that breaks off has sent stays in the bucket, unseen, and takes space", e.rightHint("cut-upload")), nil
	}
	return passed("an upload that breaks off leaves nothing"), nil
}

const (
	latencyReads  = 9
	latencyWrites = 5
)

// latency measures requests without content worth mentioning.
func (e *exam) latency(ctx context.Context) (report.Check, error) {
	key := e.readable()
	if key == "" {
		return report.Check{}, nil // check "read" tells of it
	}
	for range latencyReads {
		begun := time.Now()
		if _, err := e.bucket.Stat(ctx, key); err != nil {
			return report.Check{}, err
		}
		e.reads = append(e.reads, time.Since(begun))
	}
	text := fmt.Sprintf("looking at an object takes %s (median of %d)", rounded(median(e.reads)), len(e.reads))
	e.result.Measured.ReadLatencyMilliseconds = milliseconds(median(e.reads))
	// Where each write stays as a version, the two that were made must do.
	for e.cheapWrites() && len(e.writes) < latencyWrites {
		begun := time.Now()
		if err := e.bucket.Put(ctx, e.probe, bytes.NewReader(e.body)); err != nil {
			return report.Check{}, err
		}
		e.writes = append(e.writes, time.Since(begun))
	}
	if len(e.writes) > 0 {
		text += fmt.Sprintf(", writing a small one %s (of %d)", rounded(median(e.writes)), len(e.writes))
		e.result.Measured.WriteLatencyMilliseconds = milliseconds(median(e.writes))
	}
	return passed("%s", text), nil
}

// cheapWrites says that the probe can be replaced without leaving something.
func (e *exam) cheapWrites() bool {
	return len(e.writes) > 1 && e.inspection.Versioning != store.Yes && e.inspection.Lock != store.Yes
}

func median(of []time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(of), cmp.Compare)
	return sorted[len(sorted)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// probes are the keys that there may be something at.
func (e *exam) probes() []string { return slices.Sorted(maps.Keys(e.touched)) }

// cleanUp removes the probes where check "delete" didn't get to it.
func (e *exam) cleanUp(ctx context.Context) {
	if e.tidied || len(e.touched) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	stay, _ := e.removeAll(ctx, e.probes()) // why doesn't matter any more
	e.leave(stay)
}

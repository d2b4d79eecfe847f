package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/internal/memstore"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// server is a bucket of which each behaviour can be chosen. The zero behaviours
// are those of a good server.
type server struct {
	*memstore.Bucket
	info       store.Inspection
	inspectErr error
	// ignores says that it knows no condition; races that it lets each of several
	// writers of a new name win.
	ignores, races bool
	// locks keeps what was written from being replaced and deleted.
	locks bool
	// keepsObjects makes Delete a success that deletes nothing.
	keepsObjects bool
	// unlisted keys don't stand in lists, until the end of the world.
	unlisted bool
	// noRanges answers every range with all of it; flips changes a byte of what is
	// read of large objects; truncates loses their end.
	noRanges, flips, truncates bool
	// cutsRemain: an upload that breaks off leaves its parts, or with cutsCount
	// counts as done.
	cutsRemain, cutsCount bool
	pendingErr            error
	oldest                time.Time

	mu      sync.Mutex
	created map[string]int
	pending int
}

func newServer(objects map[string]string) *server {
	now := time.Now()
	return &server{
		Bucket:  memstore.New(objects),
		info:    store.Inspection{Endpoint: "https://store.test", Versioning: store.No, Lock: store.No, ServerTime: now, LocalTime: now},
		created: map[string]int{},
	}
}

func (s *server) Inspect(context.Context) (store.Inspection, error) { return s.info, s.inspectErr }

func (s *server) CreateUnseen(ctx context.Context, key string, body []byte) error {
	s.mu.Lock()
	s.created[key]++
	n := s.created[key]
	s.mu.Unlock()
	together := strings.HasSuffix(key, "-together")
	if s.ignores && !together || s.races && together && n > 1 {
		return s.Bucket.Put(ctx, key, bytes.NewReader(body))
	}
	return s.Create(ctx, key, body)
}

func (s *server) Put(ctx context.Context, key string, r io.Reader) error {
	if s.locks {
		if _, err := s.Stat(ctx, key); err == nil {
			return &store.LockedError{Key: key, Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
		}
	}
	body, err := io.ReadAll(r)
	switch {
	case err != nil && s.cutsCount:
		err = nil
	case err != nil && s.cutsRemain:
		s.mu.Lock()
		s.pending++
		s.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", key, err)
	}
	return s.Bucket.Put(ctx, key, bytes.NewReader(body))
}

func (s *server) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := s.Bucket.Get(ctx, key)
	if err != nil || !strings.HasSuffix(key, "-large") {
		return r, err
	}
	body, err := io.ReadAll(r)
	switch {
	case s.flips:
		body[len(body)/2] ^= 1
	case s.truncates:
		body = body[:len(body)-1]
	}
	return io.NopCloser(bytes.NewReader(body)), err
}

func (s *server) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if s.noRanges {
		offset, length = 0, -1
	}
	return s.Bucket.GetRange(ctx, key, offset, length)
}

func (s *server) List(ctx context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	all := s.Bucket.List(ctx, prefix)
	if !s.unlisted {
		return all
	}
	return func(yield func(store.ObjectInfo, error) bool) {
		for info, err := range all {
			if err != nil && !yield(info, err) {
				return
			}
		}
	}
}

func (s *server) Delete(ctx context.Context, keys ...string) error {
	switch {
	case s.locks:
		return &store.LockedError{Key: keys[0], Until: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	case s.keepsObjects:
		return nil
	}
	return s.Bucket.Delete(ctx, keys...)
}

func (s *server) PendingUploads(_ context.Context, prefix string) (int, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending, s.oldest, s.pendingErr
}

// denies refuses these calls: OP, or OP KEY-PREFIX.
func (s *server) denies(ops ...string) *server {
	s.Fault(func(op, key string) error {
		for _, o := range ops {
			name, prefix, _ := strings.Cut(o, " ")
			if op == name && strings.HasPrefix(key, prefix) {
				return fmt.Errorf("%s %q: %w; hint: look at all of it", strings.ToLower(op), key, store.ErrDenied)
			}
		}
		return nil
	})
	return s
}

// location is one named default, of provider aws.
func location(change ...func(*velerov1.BackupStorageLocation)) *velerov1.BackupStorageLocation {
	l := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider: "aws", ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "bucket", Prefix: "team"},
		},
	}
	for _, c := range change {
		c(l)
	}
	return l
}

func readOnly(l *velerov1.BackupStorageLocation) {
	l.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
}

func of(provider string) func(*velerov1.BackupStorageLocation) {
	return func(l *velerov1.BackupStorageLocation) { l.Spec.Provider = provider }
}

const (
	thisCluster  = "11111111-0000-0000-0000-000000000000"
	otherCluster = "22222222-0000-0000-0000-000000000000"
)

// examined makes all checks, with small transfers.
func examined(t *testing.T, s store.Bucket, l *velerov1.BackupStorageLocation) (*exam, report.LocationCheck) {
	t.Helper()
	if l.Spec.Config == nil {
		l.Spec.Config = map[string]string{"partSizeMiB": "0"}
	}
	e := newExam(l)
	e.bucket, e.clusterID, e.size = s, thisCluster, 300_000
	e.run(t.Context())
	return e, e.result
}

// statuses are the results by name.
func statuses(l report.LocationCheck) map[string]report.CheckStatus {
	all := map[string]report.CheckStatus{}
	for _, c := range l.Checks {
		all[c.Name] = c.Status
	}
	return all
}

func named(t *testing.T, l report.LocationCheck, name string) report.Check {
	t.Helper()
	for _, c := range l.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no check %q in %+v", name, statuses(l))
	return report.Check{}
}

// backup is a backup in a bucket.
func backup(objects map[string]string, name, cluster string) {
	annotations := ""
	if cluster != "" {
		annotations = fmt.Sprintf(`,"annotations":{%q:%q}`, velerov1.ClusterIDAnnotation, cluster)
	}
	objects["backups/"+name+"/velero-backup.json"] = fmt.Sprintf(`{"kind":"Backup","apiVersion":"velero.io/v1","metadata":{"name":%q%s}}`, name, annotations)
	objects["backups/"+name+"/"+name+".tar.gz"] = strings.Repeat("archive", 1000)
}

package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	ok, warned = report.CheckOK, report.CheckWarning
	broken     = report.CheckFailed
	left       = report.CheckSkipped
)

// good is what a good server gets.
func good() map[string]report.CheckStatus {
	return map[string]report.CheckStatus{
		"connect": ok, "list": ok, "folders": ok, "clock": ok, "versioning": ok, "lock": ok, "backups": ok, "uploads": ok,
		"create": ok, "create-if-absent": ok, "concurrent-create": ok, "read": ok, "range": ok, "replace": ok,
		"upload": ok, "download": ok, "cut-upload": ok, "latency": ok, "delete": ok,
	}
}

func TestAGoodServer(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	e, result := examined(t, s, location())
	if diff := cmp.Diff(good(), statuses(result)); diff != "" {
		t.Errorf("(-want +got):\n%s\n%+v", diff, result.Checks)
	}
	m := result.Measured
	if m.UploadBytesPerSecond <= 0 || m.DownloadBytesPerSecond <= 0 || result.Interrupted != "" || e.reachErr != nil {
		t.Errorf("%+v", result)
	}
	if keys := s.Keys(); len(keys) != 0 {
		t.Errorf("probes are left: %q", keys)
	}
	for _, key := range s.Deleted() {
		if strings.Contains(key, "/") || !strings.HasPrefix(key, "kubectl-velero-probe-") {
			t.Errorf("%q was written", key)
		}
	}
	if text := result.Verdict(); text != `storage location "default" works` {
		t.Error(text)
	}
}

// TestWhatGoesWrong changes one thing of a good server at a time.
func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	stored := map[string]string{}
	backup(stored, "b", thisCluster)
	cases := map[string]struct {
		server *server
		change func(*velerov1.BackupStorageLocation)
		// differs are the results that aren't those of a good server; "" is one that
		// isn't made.
		differs map[string]report.CheckStatus
		// check is the one to look at, and says and hint are in what it tells.
		check, says, hint string
		// stays are how many probes are left.
		stays int
	}{
		"listing is denied": {
			server:  newServer(nil).denies("List"),
			differs: map[string]report.CheckStatus{"list": broken, "folders": "", "backups": "", "uploads": ""},
			check:   "list", says: "access denied", hint: "look at all of it",
		},
		"writing is denied, and nothing is there": {
			server: newServer(nil).denies("Create", "Put"),
			differs: map[string]report.CheckStatus{
				"create": broken, "create-if-absent": left, "concurrent-create": left, "read": left, "range": "", "replace": left,
				"upload": left, "download": "", "cut-upload": "", "latency": "", "delete": left,
			},
			check: "create", says: "access denied", hint: "grant s3:PutObject on the bucket's objects (and kms:GenerateDataKey",
		},
		"writing is denied, and a backup is there": {
			server: newServer(maps.Clone(stored)).denies("Create", "Put"),
			differs: map[string]report.CheckStatus{
				"create": broken, "create-if-absent": left, "concurrent-create": left, "replace": left, "upload": left, "cut-upload": "", "delete": left,
			},
			check: "read", says: "reads the same",
		},
		"reading is denied": {
			server: newServer(nil).denies("Get"),
			differs: map[string]report.CheckStatus{
				"read": broken, "range": broken, "download": broken,
			},
			check: "read", says: "access denied", hint: "grant s3:GetObject",
		},
		"replacing is denied": {
			server: newServer(nil).denies("Put"), change: of("gcp"),
			differs: map[string]report.CheckStatus{"replace": broken, "upload": broken, "download": "", "cut-upload": ok},
			check:   "replace", says: "access denied", hint: "storage.objects.create and storage.objects.delete",
		},
		"deleting is denied": {
			server: newServer(nil).denies("Delete"), change: of("azure"),
			differs: map[string]report.CheckStatus{"delete": broken},
			check:   "delete", says: "3 probes could not be removed: team/kubectl-velero-probe-", hint: "blobs/delete", stays: 3,
		},
		"deleting does nothing": {
			server:  func() *server { s := newServer(nil); s.keepsObjects = true; return s }(),
			differs: map[string]report.CheckStatus{"delete": broken},
			check:   "delete", says: "was deleted, and is still there", stays: 3,
		},
		"what is there is locked": {
			server:  func() *server { s := newServer(nil); s.locks = true; return s }(),
			differs: map[string]report.CheckStatus{"replace": warned, "delete": warned, "latency": ok},
			check:   "delete", says: "3 probes can't be deleted until 2027-01-01 00:00:00 UTC: team/kubectl-velero-probe-", hint: "removes them", stays: 3,
		},
		"a name can be used up": {
			server:  func() *server { s := newServer(nil); s.locks = true; return s }(),
			differs: map[string]report.CheckStatus{"replace": warned, "delete": warned},
			check:   "replace", says: "nothing that is there may be replaced", hint: "name used up", stays: 3,
		},
		"the condition is ignored": {
			server:  func() *server { s := newServer(nil); s.ignores = true; return s }(),
			differs: map[string]report.CheckStatus{"create-if-absent": warned},
			check:   "create-if-absent", says: "two clusters could take one name", hint: "honours If-None-Match: *",
		},
		"the condition is ignored by several at once": {
			server:  func() *server { s := newServer(nil); s.races = true; return s }(),
			differs: map[string]report.CheckStatus{"concurrent-create": warned},
			check:   "concurrent-create", says: "8 were told that it is theirs",
		},
		"ranges are ignored": {
			server:  func() *server { s := newServer(nil); s.noRanges = true; return s }(),
			differs: map[string]report.CheckStatus{"range": broken},
			check:   "range", says: "others came", hint: "ignores ranges",
		},
		"a byte changes on the way": {
			server:  func() *server { s := newServer(nil); s.flips = true; return s }(),
			differs: map[string]report.CheckStatus{"download": broken},
			check:   "download", says: "it isn't what was written",
		},
		"the end is lost": {
			server:  func() *server { s := newServer(nil); s.truncates = true; return s }(),
			differs: map[string]report.CheckStatus{"download": broken},
			check:   "download", says: "299999 of 300000 bytes came",
		},
		"what was written is listed late": {
			server:  func() *server { s := newServer(nil); s.unlisted = true; return s }(),
			differs: map[string]report.CheckStatus{"read": warned},
			check:   "read", says: "does not stand in the list",
		},
		"a broken upload leaves its parts": {
			server:  func() *server { s := newServer(nil); s.cutsRemain = true; return s }(),
			differs: map[string]report.CheckStatus{"cut-upload": warned},
			check:   "cut-upload", says: "takes space", hint: "s3:AbortMultipartUpload",
		},
		"a broken upload counts": {
			server:  func() *server { s := newServer(nil); s.cutsCount = true; return s }(),
			differs: map[string]report.CheckStatus{"cut-upload": broken},
			check:   "cut-upload", says: "counts as done",
		},
		"old uploads": {
			server: func() *server {
				s := newServer(nil)
				s.pending, s.oldest = 2, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
				return s
			}(),
			differs: map[string]report.CheckStatus{"uploads": warned, "cut-upload": warned},
			check:   "uploads", says: "2 unfinished uploads, the oldest of 2026-01-01", hint: "maintenance",
		},
		"uploads can't be listed": {
			server: func() *server {
				s := newServer(nil)
				s.pendingErr = fmt.Errorf("list uploads: %w", store.ErrDenied)
				return s
			}(),
			differs: map[string]report.CheckStatus{"uploads": warned},
			check:   "uploads", says: "can't be found", hint: "s3:ListBucketMultipartUploads",
		},
		"the clock is wrong": {
			server: func() *server {
				s := newServer(nil)
				s.info.ServerTime = s.info.LocalTime.Add(-16 * time.Minute)
				return s
			}(),
			differs: map[string]report.CheckStatus{"clock": warned},
			check:   "clock", says: "16m0s behind", hint: "NTP",
		},
		"the server says little": {
			server:  func() *server { s := newServer(nil); s.info = store.Inspection{Endpoint: "x"}; return s }(),
			differs: map[string]report.CheckStatus{"clock": left, "versioning": left, "lock": left},
			check:   "lock", says: "may not ask",
		},
		"versions and locks": {
			server: func() *server {
				s := newServer(nil)
				s.info.Versioning, s.info.Lock, s.info.LockRule = store.Yes, store.Yes, "compliance, 30 days"
				return s
			}(),
			check: "lock", says: "compliance, 30 days", hint: "until its lock ends",
		},
		"folders that aren't Velero's": {
			server:  newServer(map[string]string{"a/x": "", "b/x": "", "c/x": "", "d/x": "", "kopia/x": "", "backups/x": ""}),
			differs: map[string]report.CheckStatus{"folders": warned},
			check:   "folders", says: `"a", "b", "c", and 1 more`, hint: "prefix of its own",
		},
		"a backup that can't be read": {
			server:  newServer(map[string]string{"backups/b/velero-backup.json": "{"}),
			differs: map[string]report.CheckStatus{"backups": warned},
			check:   "backups", says: `1 can't be read, such as "b"`, hint: "backup verify",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := location()
			if c.change != nil {
				c.change(l)
			}
			_, result := examined(t, c.server, l)
			want := good()
			for check, status := range c.differs {
				if want[check] = status; status == "" {
					delete(want, check)
				}
			}
			if diff := cmp.Diff(want, statuses(result)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, result.Checks)
			}
			got := named(t, result, c.check)
			if !strings.Contains(got.Text, c.says) || !strings.Contains(got.Hint, c.hint) {
				t.Errorf("%+v", got)
			}
			probes := 0
			for _, key := range c.server.Keys() {
				if strings.HasPrefix(key, probePrefix) {
					probes++
				}
			}
			if probes != c.stays || len(result.Left) != c.stays {
				t.Errorf("%d probes are there, and %q said to be left", probes, result.Left)
			}
		})
	}
}

func TestABucketThatCantBeReached(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	s.inspectErr = fmt.Errorf("look at the bucket: %w; hint: start it", store.ErrUnavailable)
	e, result := examined(t, s, location())
	want := []report.Check{{Name: "connect", Status: broken, Text: "look at the bucket: storage is unavailable", Hint: "start it"}}
	if diff := cmp.Diff(want, result.Checks); diff != "" || !errors.Is(e.reachErr, store.ErrUnavailable) {
		t.Errorf("(-want +got):\n%s\n%v", diff, e.reachErr)
	}
}

// TestABucketThatGoesAway: a store that stops to answer is not asked for everything
// that there is.
func TestABucketThatGoesAway(t *testing.T) {
	t.Parallel()
	s := newServer(nil)
	writes := 0
	s.Fault(func(op, _ string) error {
		if op == "Create" {
			writes++
		}
		if writes > 0 && op != "Create" {
			return fmt.Errorf("%s: %w", op, store.ErrUnavailable)
		}
		return nil
	})
	_, result := examined(t, s, location())
	if got := result.Checks[len(result.Checks)-1]; got.Name != "concurrent-create" || got.Status != broken {
		t.Errorf("the last is %+v", got)
	}
	if result.Interrupted != "the storage doesn't answer any more" || len(result.Left) != 2 {
		t.Errorf("%q, left %q", result.Interrupted, result.Left)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	objects := map[string]string{}
	backup(objects, "b", thisCluster)
	for name, c := range map[string]struct {
		objects map[string]string
		differs map[string]report.CheckStatus
	}{
		"with a backup": {objects, map[string]report.CheckStatus{"download": ok, "range": ok, "latency": ok, "read": ok}},
		"empty":         {nil, map[string]report.CheckStatus{"read": left}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(c.objects).denies("Create", "Put", "Delete")
			_, result := examined(t, s, location(readOnly))
			want := map[string]report.CheckStatus{
				"connect": ok, "list": ok, "folders": ok, "clock": ok, "versioning": ok, "lock": ok, "backups": ok, "uploads": ok,
				"create": left, "create-if-absent": left, "concurrent-create": left, "replace": left, "upload": left, "cut-upload": left, "delete": left,
			}
			maps.Copy(want, c.differs)
			if diff := cmp.Diff(want, statuses(result)); diff != "" {
				t.Errorf("(-want +got):\n%s\n%+v", diff, result.Checks)
			}
			if len(s.created) != 0 {
				t.Errorf("%v were written", s.created)
			}
		})
	}
}

func TestWhoseBackups(t *testing.T) {
	t.Parallel()
	objects := map[string]string{}
	backup(objects, "mine-1", thisCluster)
	backup(objects, "mine-2", thisCluster)
	backup(objects, "theirs", otherCluster)
	backup(objects, "velero", "")
	for name, c := range map[string]struct {
		adopted string
		want    []report.ClusterBackups
		says    string
		hint    string
	}{
		"nothing adopted": {
			"",
			[]report.ClusterBackups{{Whose: "unknown", Count: 1}, {ClusterID: thisCluster, Whose: "ours", Count: 2}, {ClusterID: otherCluster, Whose: "other", Count: 1}},
			"4 backups: 1 that don't say which cluster made them, as a Velero server's don't, 2 of this cluster, 1 of cluster " + otherCluster,
			"`backup-location adopt default --cluster-id unknown`",
		},
		"the other adopted": {
			otherCluster,
			[]report.ClusterBackups{{Whose: "unknown", Count: 1}, {ClusterID: thisCluster, Whose: "ours", Count: 2}, {ClusterID: otherCluster, Whose: "adopted", Count: 1}},
			"1 adopted from cluster " + otherCluster,
			"--cluster-id unknown",
		},
		"all adopted": {
			otherCluster + ",unknown",
			[]report.ClusterBackups{{Whose: "adopted", Count: 1}, {ClusterID: thisCluster, Whose: "ours", Count: 2}, {ClusterID: otherCluster, Whose: "adopted", Count: 1}},
			"1 adopted from cluster unknown",
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(maps.Clone(objects))
			s.ignores = true
			_, result := examined(t, s, location(func(l *velerov1.BackupStorageLocation) {
				l.Annotations = map[string]string{velerov1.AdoptedClustersAnnotation: c.adopted}
			}))
			if diff := cmp.Diff(c.want, result.Clusters); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			got := named(t, result, "backups")
			if !strings.Contains(got.Text, c.says) || !strings.Contains(got.Hint, c.hint) || c.hint == "" && got.Hint != "" {
				t.Errorf("%+v", got)
			}
			// A server that ignores the condition breaks backups only where several
			// clusters write.
			want := warned
			if c.adopted == "" {
				want = broken
			}
			if got := named(t, result, "create-if-absent"); got.Status != want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// aged is a bucket whose objects are old.
type aged struct{ *server }

func (a aged) List(ctx context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	return func(yield func(store.ObjectInfo, error) bool) {
		for info, err := range a.server.List(ctx, prefix) {
			info.ModTime = time.Now().Add(-2 * abandoned)
			if strings.HasSuffix(info.Key, "young") {
				info.ModTime = time.Now()
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestProbesOfEarlierChecks(t *testing.T) { // no probe of this check begins with a 0
	t.Parallel()
	objects := map[string]string{probePrefix + "0": "", probePrefix + "b": "", probePrefix + "young": "", "other": "", probePrefix + "c/d": ""}
	s := newServer(maps.Clone(objects))
	_, result := examined(t, aged{s}, location())
	if got := named(t, result, "old-probes"); got.Status != ok || got.Text != "2 probes of earlier checks removed" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{probePrefix + "c/d", probePrefix + "young", "other"}, s.Keys()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s = newServer(maps.Clone(objects)).denies("Delete " + probePrefix + "0")
	_, result = examined(t, aged{s}, location())
	if got := named(t, result, "old-probes"); got.Status != warned || !strings.Contains(got.Text, "1 of 2 probes of earlier checks can't be removed") {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"team/" + probePrefix + "0"}, result.Left); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s = newServer(maps.Clone(objects))
	if _, result = examined(t, aged{s}, location(readOnly)); statuses(result)["old-probes"] != "" || len(s.Deleted()) > 0 {
		t.Errorf("%q deleted", s.Deleted())
	}
}

// TestProbesGoAwayWhenInterrupted ends the context in each of the writing checks.
func TestProbesGoAwayWhenInterrupted(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"create-if-absent", "concurrent-create", "replace", "upload", "download", "cut-upload", "latency", "delete"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s := newServer(nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			e := newExam(location())
			e.bucket, e.size = s, 300_000
			e.running = func(name string) {
				if name == at {
					cancel(errors.New("the client went away"))
				}
			}
			e.run(ctx)
			if keys := s.Keys(); len(keys) != 0 || len(e.result.Left) != 0 {
				t.Errorf("left: %q, said %q", keys, e.result.Left)
			}
			if e.result.Interrupted != "the client went away" || e.result.Count(broken) != 0 {
				t.Errorf("%+v", e.result)
			}
		})
	}
}

// TestSizeZero leaves out what transfers much.
func TestSizeZero(t *testing.T) {
	t.Parallel()
	e := newExam(location())
	e.bucket = newServer(nil)
	e.run(t.Context())
	want := good()
	want["upload"] = left
	delete(want, "download")
	delete(want, "cut-upload")
	if diff := cmp.Diff(want, statuses(e.result)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	u := &until{Reader: strings.NewReader("abc"), deadline: time.Now().Add(-time.Second)}
	if body, err := io.ReadAll(u); err != nil || len(body) != 0 {
		t.Errorf("after the deadline: %q, %v", body, err)
	}
	u.deadline = time.Now().Add(time.Hour)
	if body, err := io.ReadAll(u); err != nil || string(body) != "abc" || u.n != 3 {
		t.Errorf("before it: %q, %v", body, err)
	}
}

func TestPartSize(t *testing.T) {
	t.Parallel()
	for want, config := range map[int64]map[string]string{
		16 << 20: nil, 5 << 20: {"partSizeMiB": "5"}, 1 << 20: {"blockSizeInBytes": "1048576"},
	} {
		l := location()
		l.Spec.Config = config
		if got := newExam(l).partSize(); got != want {
			t.Errorf("%v: %d", config, got)
		}
	}
}

package store

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// uploadServer takes objects, in one request or as resumable uploads of one
// session.
type uploadServer struct {
	// begin and part, if not nil, say that they have answered themselves.
	begin func(w http.ResponseWriter, request int) bool
	part  func(w http.ResponseWriter, r *http.Request, request int) bool
	// flip makes it store other bytes than it gets.
	flip bool
	// object is what it says of an object that it is asked for.
	object map[string]any

	mu       sync.Mutex
	begun    int      // guarded by mu; requests to begin
	parts    int      // guarded by mu; requests with a part
	queries  []string // guarded by mu; of uploads
	metadata string   // guarded by mu
	content  []byte   // guarded by mu
	deleted  []string // guarded by mu; what was deleted, sessions too
}

func (s *uploadServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.deleted = append(s.deleted, r.URL.Path+"?"+r.URL.RawQuery)
		if query.Has("upload_id") {
			w.WriteHeader(499)
		}
	case query.Has("upload_id"):
		s.takePart(w, r)
	case query.Get("uploadType") == "resumable":
		s.takeBegin(w, r)
	case query.Get("uploadType") == "multipart":
		s.takeWhole(w, r)
	case s.object != nil:
		answerJSON(w, s.object)
	default:
		refuseJSON(w, http.StatusNotFound, "notFound", "No such object: b/p/k")
	}
}

func (s *uploadServer) takeBegin(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	s.queries = append(s.queries, r.URL.RawQuery)
	body, _ := io.ReadAll(r.Body) // what is missing shows
	s.metadata = string(body)
	if s.begin == nil || !s.begin(w, s.begun) {
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id=1")
	}
}

func (s *uploadServer) takePart(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts++
	if s.part != nil && s.part(w, r, s.parts) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	var from, to int64
	var total string
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%s", &from, &to, &total); err != nil {
		_, err = fmt.Sscanf(r.Header.Get("Content-Range"), "bytes */%s", &total)
		from = int64(len(s.content))
		if err != nil {
			refuseJSON(w, http.StatusBadRequest, "badRequest", err.Error())
			return
		}
	}
	// What comes again is known already.
	s.content = append(s.content[:from], body...)
	if total == "*" {
		w.Header().Set("X-Http-Status-Code-Override", "308")
		return
	}
	s.complete(w)
}

func (s *uploadServer) takeWhole(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, r.URL.RawQuery)
	_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	parts := multipart.NewReader(r.Body, params["boundary"])
	for i := range 2 {
		part, err := parts.NextPart()
		if err != nil {
			return // the client is gone
		}
		body, err := io.ReadAll(part)
		if err != nil {
			return // as above
		}
		if i == 0 {
			s.metadata = string(body)
		} else {
			s.content = body
		}
	}
	s.parts++
	if s.part == nil || !s.part(w, r, s.parts) {
		s.complete(w)
	}
}

func (s *uploadServer) complete(w http.ResponseWriter) {
	sum := crc32.Checksum(s.content, castagnoli)
	if s.flip {
		sum++
	}
	answerJSON(w, map[string]any{"name": "p/k", "generation": "7", "crc32c": base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))})
}

// manyParts is a stream of three and a half parts.
func manyParts() (io.Reader, string) {
	content := strings.Repeat("0123456789abcdef", 7<<15)
	return io.MultiReader(strings.NewReader(content)), content
}

func TestGCSUploadIsTakenUp(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]*uploadServer{
		"nothing": {},
		"busy at the beginning": {begin: func(w http.ResponseWriter, request int) bool {
			if request < maxAttempts {
				refuseJSON(w, http.StatusServiceUnavailable, "backendError", "busy")
			}
			return request < maxAttempts
		}},
		"every part refused": {part: func(w http.ResponseWriter, _ *http.Request, request int) bool {
			if request%2 == 1 {
				refuseJSON(w, http.StatusTooManyRequests, "rateLimitExceeded", "slow down")
			}
			return request%2 == 1
		}},
		"every part cut": {part: func(_ http.ResponseWriter, r *http.Request, request int) bool {
			if request%2 == 1 {
				_, _ = io.CopyN(io.Discard, r.Body, 300<<10) // cut in the middle, however far it came
				panic(http.ErrAbortHandler)
			}
			return false
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, server.ServeHTTP)
			r, want := manyParts()
			if err := b.Put(t.Context(), "k", r); err != nil {
				t.Fatal(err)
			}
			if string(server.content) != want {
				t.Error("other content")
			}
			if len(server.deleted) > 0 {
				t.Errorf("deleted: %q", server.deleted)
			}
		})
	}
}

// TestGCSUploadAnswerIsLost has the server take parts whose answer never arrives.
func TestGCSUploadAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := &uploadServer{}
	lost := map[string]bool{}
	b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) {
		server.ServeHTTP(w, r)
		if at := r.Header.Get("Content-Range"); at != "" && !lost[at] {
			lost[at] = true
			panic(http.ErrAbortHandler)
		}
	})
	r, want := manyParts()
	if err := b.Put(t.Context(), "k", r); err != nil {
		t.Fatal(err)
	}
	if string(server.content) != want || len(lost) < 4 {
		t.Errorf("%d answers lost, or other content", len(lost))
	}
}

func TestGCSUploadGivesUp(t *testing.T) {
	t.Parallel()
	refuse := func(status int, reason string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, _ *http.Request, request int) bool {
			if request > 1 {
				refuseJSON(w, status, reason, "no")
			}
			return request > 1
		}
	}
	session := []string{"/upload/storage/v1/b/b/o?uploadType=resumable&upload_id=1"}
	for name, test := range map[string]struct {
		server  *uploadServer
		want    error
		parts   int
		deleted []string
	}{
		"cannot begin": {&uploadServer{begin: func(w http.ResponseWriter, _ int) bool {
			refuseJSON(w, http.StatusServiceUnavailable, "backendError", "busy")
			return true
		}}, ErrUnavailable, 0, nil},
		"busy for ever":  {&uploadServer{part: refuse(503, "backendError")}, ErrUnavailable, 1 + gcsPartAttempts, session},
		"session gone":   {&uploadServer{part: refuse(410, "gone")}, ErrUnavailable, 2, session},
		"right is taken": {&uploadServer{part: refuse(403, "forbidden")}, ErrDenied, 2, session},
		"token refused":  {&uploadServer{part: refuse(401, "authError")}, ErrDenied, 2, session},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, test.server.ServeHTTP)
			r, _ := manyParts()
			err := b.Put(t.Context(), "k", r)
			checkError(t, err, test.want, "")
			if Temporary(err) != (test.want == ErrUnavailable) {
				t.Errorf("temporary: %v", err)
			}
			if test.server.parts != test.parts {
				t.Errorf("%d requests with parts, want %d", test.server.parts, test.parts)
			}
			if diff := cmp.Diff(test.deleted, test.server.deleted); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGCSPutFreesTheWriter(t *testing.T) {
	t.Parallel()
	server := &uploadServer{part: func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		refuseJSON(w, http.StatusForbidden, "forbidden", "no")
		return true
	}}
	b := serveGCS(t, nil, server.ServeHTTP)
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 64<<10))
		}
		written <- err
	}()
	checkError(t, b.Put(t.Context(), "k", r), ErrDenied, "")
	if err := <-written; !errors.Is(err, ErrDenied) {
		t.Errorf("the writer got %v", err)
	}
}

// TestGCSUploadDiffers has a server that stores something else.
func TestGCSUploadDiffers(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]io.Reader{"small": strings.NewReader("x"), "many parts": func() io.Reader { r, _ := manyParts(); return r }()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &uploadServer{flip: true}
			err := serveGCS(t, nil, server.ServeHTTP).Put(t.Context(), "k", body)
			checkError(t, err, ErrUnavailable, "")
			if !strings.Contains(err.Error(), "other content than what was sent") {
				t.Error(err)
			}
			if len(server.deleted) != 1 || !strings.Contains(server.deleted[0], "ifGenerationMatch=7") {
				t.Errorf("deleted: %q", server.deleted)
			}
		})
	}
}

func TestGCSWritesWithTheLocationsSettings(t *testing.T) {
	t.Parallel()
	const key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
	config := map[string]string{"kmsKeyName": key, "storageClass": "NEARLINE"}
	for name, test := range map[string]struct {
		write     func(*gcsBucket) error
		condition bool
		sum       bool
	}{
		"put":    {func(b *gcsBucket) error { return b.Put(t.Context(), "k", strings.NewReader("x")) }, false, true},
		"large":  {func(b *gcsBucket) error { r, _ := manyParts(); return b.Put(t.Context(), "k", r) }, false, false},
		"create": {func(b *gcsBucket) error { return b.Create(t.Context(), "k", []byte("x")) }, true, true},
		"unseen": {func(b *gcsBucket) error { return b.CreateUnseen(t.Context(), "k", []byte("x")) }, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &uploadServer{}
			if err := test.write(serveGCS(t, config, server.ServeHTTP)); err != nil {
				t.Fatal(err)
			}
			if len(server.queries) != 1 || !strings.Contains(server.queries[0], "kmsKeyName=projects%2Fp") ||
				strings.Contains(server.queries[0], "ifGenerationMatch=0") != test.condition {
				t.Errorf("queries %q", server.queries)
			}
			if !strings.Contains(server.metadata, `"storageClass":"NEARLINE"`) || strings.Contains(server.metadata, `"crc32c"`) != test.sum {
				t.Errorf("metadata %s", server.metadata)
			}
		})
	}
}

func TestGCSCreateMeetsAnother(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]struct {
		status int
		reason string
	}{"condition": {412, "conditionNotMet"}, "locked": {403, "retentionPolicyNotMet"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &uploadServer{part: func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				refuseJSON(w, refusal.status, refusal.reason, "no")
				return true
			}}
			checkError(t, serveGCS(t, nil, server.ServeHTTP).Create(t.Context(), "k", []byte("x")), ErrExists, "")
		})
	}
}

// locks are the ways in which an object is protected.
func locks(until time.Time) map[string]struct {
	object map[string]any
	want   LockedError
} {
	text := until.Format(time.RFC3339)
	return map[string]struct {
		object map[string]any
		want   LockedError
	}{
		"policy of the bucket": {map[string]any{"name": "p/k", "retentionExpirationTime": text}, LockedError{Key: "k", Until: until}},
		"its own retention": {map[string]any{"name": "p/k", "retention": map[string]string{"mode": "Locked", "retainUntilTime": text}},
			LockedError{Key: "k", Until: until}},
		"temporary hold":   {map[string]any{"name": "p/k", "temporaryHold": true}, LockedError{Key: "k", Hold: true}},
		"event-based hold": {map[string]any{"name": "p/k", "eventBasedHold": true, "retentionExpirationTime": text}, LockedError{Key: "k", Hold: true}},
	}
}

func checkLock(t *testing.T, err error, want LockedError) {
	t.Helper()
	var got *LockedError
	if !errors.As(err, &got) || !errors.Is(err, ErrLocked) || Temporary(err) {
		t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Error(diff)
	}
}

// TestGCSLockedIsNotHidden: a bucket that keeps versions would.
func TestGCSLockedIsNotHidden(t *testing.T) {
	t.Parallel()
	for name, test := range locks(time.Now().Add(time.Hour).Truncate(time.Second).UTC()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &uploadServer{object: test.object}
			err := serveGCS(t, nil, server.ServeHTTP).Delete(t.Context(), "k")
			checkLock(t, err, test.want)
			if len(server.deleted) > 0 {
				t.Errorf("deleted: %q", server.deleted)
			}
			if !strings.HasPrefix(err.Error(), `delete object "p/k" in bucket "b"`) {
				t.Error(err)
			}
		})
	}
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		server := &uploadServer{object: map[string]any{"name": "p/k", "temporaryHold": true}}
		b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/free") {
				answerJSON(w, map[string]any{"name": "p/free"})
				return
			}
			server.ServeHTTP(w, r)
		})
		checkLock(t, b.Delete(t.Context(), "free", "k", "free"), LockedError{Key: "k", Hold: true})
		if len(server.deleted) > 0 {
			t.Errorf("deleted: %q", server.deleted)
		}
	})
	t.Run("expired", func(t *testing.T) {
		t.Parallel()
		server := &uploadServer{object: map[string]any{"name": "p/k", "retentionExpirationTime": "2020-01-01T00:00:00Z"}}
		if err := serveGCS(t, nil, server.ServeHTTP).Delete(t.Context(), "k"); err != nil || len(server.deleted) != 1 {
			t.Errorf("%v, deleted: %q", err, server.deleted)
		}
	})
}

// TestGCSPutOverLocked has the refusals that GCS gives, for a hold the same as for
// a missing right.
func TestGCSPutOverLocked(t *testing.T) {
	t.Parallel()
	for name, test := range locks(time.Now().Add(time.Hour).Truncate(time.Second).UTC()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason, message := "retentionPolicyNotMet", "Object 'b/p/k' is subject to bucket's retention policy or object retention and cannot be deleted or overwritten until 2099-01-01T00:00:00Z"
			if test.want.Hold {
				reason, message = "forbidden", "Object 'b/p/k' is under active Temporary hold and cannot be deleted, overwritten or archived until hold is removed."
			}
			server := &uploadServer{object: test.object, part: func(w http.ResponseWriter, r *http.Request, _ int) bool {
				last := !strings.HasSuffix(r.Header.Get("Content-Range"), "/*")
				if last {
					refuseJSON(w, http.StatusForbidden, reason, message)
				}
				return last
			}}
			b := serveGCS(t, nil, server.ServeHTTP)
			checkLock(t, b.Put(t.Context(), "k", strings.NewReader("x")), test.want)
			r, _ := manyParts()
			checkLock(t, b.Put(t.Context(), "k", r), test.want)
		})
	}
}

// TestGCSDeleteWithoutLooking has an account that may delete and not read.
func TestGCSDeleteWithoutLooking(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		reason string
		check  func(*testing.T, error)
	}{
		"free":   {204, "", func(t *testing.T, err error) { t.Helper(); check(t, err) }},
		"gone":   {404, "notFound", func(t *testing.T, err error) { t.Helper(); check(t, err) }},
		"locked": {403, "retentionPolicyNotMet", func(t *testing.T, err error) { t.Helper(); checkLock(t, err, LockedError{Key: "k"}) }},
		"denied": {403, "forbidden", func(t *testing.T, err error) { t.Helper(); checkError(t, err, ErrDenied, "storage.objects.delete") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method != http.MethodDelete:
					refuseJSON(w, http.StatusForbidden, "forbidden", "no storage.objects.get")
				case test.reason == "":
					w.WriteHeader(test.status)
				default:
					refuseJSON(w, test.status, test.reason, "no")
				}
			})
			test.check(t, b.Delete(t.Context(), "k"))
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

package store

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeleteOfLockedObjects(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	for name, test := range map[string]struct {
		header map[string]string
		status int
		want   *LockedError
	}{
		"free":             {nil, 200, nil},
		"retained":         {map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": until.Format(time.RFC3339)}, 200, &LockedError{Key: "b", Until: until}},
		"retention over":   {map[string]string{"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2020-01-01T00:00:00Z"}, 200, nil},
		"held":             {map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}, 200, &LockedError{Key: "b", Hold: true}},
		"may not look":     {nil, 403, nil},
		"of another key":   {nil, 400, nil},
		"hold taken off":   {map[string]string{"X-Amz-Object-Lock-Legal-Hold": "OFF"}, 200, nil},
		"versions, hidden": {map[string]string{"X-Amz-Delete-Marker": "true"}, 404, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var deleted atomic.Int32
			b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodDelete:
					deleted.Add(1)
					w.WriteHeader(http.StatusNoContent)
				case r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/b"):
					for k, v := range test.header {
						w.Header().Set(k, v)
					}
					w.WriteHeader(test.status)
				case r.Method == http.MethodGet:
					fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
				}
			})
			err := b.Delete(t.Context(), "a", "b")
			var got *LockedError
			if errors.As(err, &got) != (test.want != nil) || errors.Is(err, ErrLocked) != (test.want != nil) {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			want := int32(2)
			switch {
			case test.want != nil:
				want = 0 // neither: half a backup is of no use
			case test.status == http.StatusNotFound:
				want = 1
			}
			if deleted.Load() != want || (err == nil) != (test.want == nil) {
				t.Errorf("%d deleted, %v", deleted.Load(), err)
			}
		})
	}
}

func TestRefusalsOfLockedObjects(t *testing.T) {
	t.Parallel()
	for message, code := range map[string]string{
		"Access Denied because object protected by object lock.":  "AccessDenied",
		"Object is WORM protected and cannot be overwritten":      "InvalidRequest",
		"Object is WORM protected and cannot be overwritten, too": "ObjectLocked",
	} {
		b := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, code, message) })
		err := b.Put(t.Context(), "k", strings.NewReader("x"))
		var locked *LockedError
		if !errors.As(err, &locked) || locked.Key != "k" || strings.Contains(err.Error(), "hint") || Temporary(err) {
			t.Errorf("error %v", err)
		}
	}
}

func TestInspectS3(t *testing.T) {
	t.Parallel()
	const denied = "AccessDenied"
	const rule = `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	for name, test := range map[string]struct {
		list, versioning, lock string // an answer, or a code
		want                   Inspection
	}{
		"plain": {"<ListBucketResult/>", "<VersioningConfiguration/>", "ObjectLockConfigurationNotFoundError", Inspection{Versioning: No, Lock: No}},
		"versions": {"<ListBucketResult/>", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
			"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>",
			Inspection{Versioning: Yes, Lock: No, LockRule: "object lock without a default retention"}},
		"locks": {"<ListBucketResult/>", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", rule,
			Inspection{Versioning: Yes, Lock: Yes, LockRule: "compliance, 30 days"}},
		"may not ask": {denied, denied, denied, Inspection{}},
		"knows less":  {"<ListBucketResult/>", "NotImplemented", "MethodNotAllowed", Inspection{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", "Mon, 02 Jan 2006 15:04:05 GMT")
				answer := test.list
				switch {
				case r.URL.Query().Has("versioning"):
					answer = test.versioning
				case r.URL.Query().Has("object-lock"):
					answer = test.lock
				}
				status := map[string]int{denied: 403, "ObjectLockConfigurationNotFoundError": 404, "NotImplemented": 501, "MethodNotAllowed": 405}[answer]
				if status != 0 {
					refuse(w, status, answer, "no")
					return
				}
				fmt.Fprint(w, answer)
			})
			got, err := b.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.ServerTime.Format(time.DateTime) != "2006-01-02 15:04:05" || time.Since(got.LocalTime).Abs() > time.Minute || got.Endpoint != b.config.Endpoint {
				t.Errorf("%+v", got)
			}
			got.ServerTime, got.LocalTime, got.Endpoint = time.Time{}, time.Time{}, ""
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for code, want := range map[string]error{"NoSuchBucket": ErrNoBucket, "SignatureDoesNotMatch": ErrDenied, "InternalError": ErrUnavailable} {
		status := map[string]int{"NoSuchBucket": 404, "SignatureDoesNotMatch": 403, "InternalError": 500}[code]
		b := serve(t, nil, func(w http.ResponseWriter, _ *http.Request) { refuse(w, status, code, "no") })
		_, err := b.Inspect(t.Context())
		checkError(t, err, want, "")
	}
}

func TestCreateUnseenLeavesItToTheServer(t *testing.T) {
	t.Parallel()
	b := serve(t, nil, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPut || r.Header.Get("If-None-Match") != "*":
			t.Errorf("%s without a condition", r.Method)
		case strings.HasSuffix(r.URL.Path, "/there"):
			refuse(w, http.StatusPreconditionFailed, "PreconditionFailed", "there")
		case strings.HasSuffix(r.URL.Path, "/unknown"):
			refuse(w, http.StatusNotImplemented, "NotImplemented", "If-None-Match")
		}
	})
	if err := b.CreateUnseen(t.Context(), "new", []byte("x")); err != nil {
		t.Error(err)
	}
	checkError(t, b.CreateUnseen(t.Context(), "there", []byte("x")), ErrExists, "")
	checkError(t, b.CreateUnseen(t.Context(), "unknown", []byte("x")), nil, "")
}

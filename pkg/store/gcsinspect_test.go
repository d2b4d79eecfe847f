package store

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestInspectGCS(t *testing.T) {
	t.Parallel()
	const day = 24 * 60 * 60
	type object = map[string]any
	for _, test := range []struct {
		name   string
		bucket object
		want   Inspection
	}{
		{"plain", object{"name": "b", "softDeletePolicy": object{"retentionDurationSeconds": "0"}}, Inspection{Versioning: No, Lock: No}},
		{"versions", object{"name": "b", "versioning": object{"enabled": true}}, Inspection{Versioning: Yes, Lock: No}},
		{"soft delete", object{"name": "b", "softDeletePolicy": object{"retentionDurationSeconds": "604800"}}, Inspection{Versioning: Yes, Lock: No}},
		{"retention", object{"name": "b", "retentionPolicy": object{"retentionPeriod": "2592000", "effectiveTime": "2026-01-01T00:00:00Z"}},
			Inspection{Versioning: No, Lock: Yes, LockRule: "retention policy, 30 days"}},
		{"locked retention", object{"name": "b", "retentionPolicy": object{"retentionPeriod": "86400", "effectiveTime": "2026-01-01T00:00:00Z", "isLocked": true}},
			Inspection{Versioning: No, Lock: Yes, LockRule: "locked retention policy, 1 day"}},
		{"hold", object{"name": "b", "defaultEventBasedHold": true, "retentionPolicy": object{"retentionPeriod": "60", "effectiveTime": "2026-01-01T00:00:00Z"}},
			Inspection{Versioning: No, Lock: Yes, LockRule: "retention policy, 1m0s; event-based hold on each new object"}},
		{"may not ask", nil, Inspection{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ahead := time.Now().Add(day * time.Second).Truncate(time.Second).UTC()
			b := serveGCS(t, nil, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", ahead.Format(http.TimeFormat))
				switch {
				case strings.HasSuffix(r.URL.Path, "/o"):
					answerJSON(w, object{})
				case test.bucket == nil:
					refuseJSON(w, http.StatusForbidden, "forbidden", "does not have storage.buckets.get access")
				default:
					answerJSON(w, test.bucket)
				}
			})
			got, err := b.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.LocalTime.IsZero() || !got.ServerTime.Equal(ahead) || !strings.HasPrefix(got.Endpoint, "http://127.0.0.1:") {
				t.Errorf("%+v", got)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Inspection{}, "LocalTime", "ServerTime", "Endpoint")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInspectGCSRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		want   error
	}{"no bucket": {404, ErrNoBucket}, "no right at all": {403, ErrDenied}, "no token": {401, ErrDenied}, "down": {503, ErrUnavailable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveGCS(t, nil, func(w http.ResponseWriter, _ *http.Request) { refuseJSON(w, test.status, "x", "no") })
			_, err := b.Inspect(t.Context())
			checkError(t, err, test.want, "")
		})
	}
}

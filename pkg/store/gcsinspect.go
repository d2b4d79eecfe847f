package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/storage"
)

// Inspect implements Inspector. What a bucket is like takes the right
// storage.buckets.get, which nothing else here does.
func (b *gcsBucket) Inspect(ctx context.Context) (Inspection, error) {
	const op = "look at"
	seen := Inspection{Endpoint: b.where()}
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	request, x := withExchange(request)
	attrs, err := b.handle.Attrs(request)
	if err != nil {
		if e := b.fail(request, op, "", err); e.kind != ErrDenied {
			return seen, b.missing(e)
		}
		// Listing is another right.
		for _, err := range b.pages(request, &storage.Query{Prefix: b.prefix}, 1) {
			if err != nil {
				return seen, err
			}
			break
		}
	} else {
		seen.Versioning = tristate(attrs.VersioningEnabled || keepsDeleted(attrs))
		seen.LockRule = gcsLockRule(attrs)
		seen.Lock = tristate(seen.LockRule != "")
	}
	seen.ServerTime, seen.LocalTime = x.serverTime(), time.Now().UTC()
	return seen, nil
}

// missing is for a request about the bucket itself.
func (b *gcsBucket) missing(e *opError) error {
	if e.kind == ErrNotExist || errors.Is(e.cause, storage.ErrBucketNotExist) {
		e.kind, e.hint = ErrNoBucket, b.hintNoBucket()
	}
	return e
}

func tristate(is bool) Tristate {
	if is {
		return Yes
	}
	return No
}

// keepsDeleted says that what is deleted can be restored, and is paid for, for a
// while.
func keepsDeleted(attrs *storage.BucketAttrs) bool {
	return attrs.SoftDeletePolicy != nil && attrs.SoftDeletePolicy.RetentionDuration > 0
}

// gcsLockRule says why a new object can't be deleted, or nothing.
func gcsLockRule(attrs *storage.BucketAttrs) string {
	var rules []string
	if p := attrs.RetentionPolicy; p != nil && p.RetentionPeriod > 0 {
		rule := "retention policy, " + period(p.RetentionPeriod)
		if p.IsLocked {
			rule = "locked " + rule
		}
		rules = append(rules, rule)
	}
	if attrs.DefaultEventBasedHold {
		rules = append(rules, "event-based hold on each new object")
	}
	return strings.Join(rules, "; ")
}

// period is a length of time in whole days where it is some.
func period(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}

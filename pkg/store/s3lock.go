package store

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// s3LockOf is the lock that an object's head tells of, or nil. Stores tell only those
// who have s3:GetObjectRetention and s3:GetObjectLegalHold.
func s3LockOf(key string, head *s3.HeadObjectOutput) *LockedError {
	l := &LockedError{Key: key, Hold: head.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn}
	until := aws.ToTime(head.ObjectLockRetainUntilDate)
	if head.ObjectLockMode != "" && until.After(time.Now()) {
		l.Until = until.UTC()
	}
	if !l.Hold && l.Until.IsZero() {
		return nil
	}
	return l
}

// isLocked recognizes the refusals of AWS and of servers like it to touch a
// protected object: they have no code of their own.
func isLocked(code, message string) bool {
	switch code {
	case "AccessDenied":
		return strings.Contains(message, "object lock")
	case "InvalidRequest", "ObjectLocked":
		return strings.Contains(message, "WORM protected")
	}
	return false
}

// checkDelete says whether the object is there, and fails if it is locked: with
// versions, a server would delete it by hiding it, and it would go on taking space
// unseen. An account that may not look gets what the server makes of the deletion.
func (b *s3Bucket) checkDelete(ctx context.Context, key string) (exists bool, err error) {
	const op = "delete object"
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	out, err := b.headObject(request, key)
	if err == nil {
		if locked := s3LockOf(key, out); locked != nil {
			return true, &opError{op: b.describe(op, key), cause: locked, detail: locked.Error()}
		}
		return true, nil
	}
	e := b.explainHead(ctx, b.fail(request, op, key, err), key)
	switch status := statusOf(e); {
	case errors.Is(e, ErrNotExist):
		return false, nil
	case status == http.StatusForbidden && isPlainDenial(e), status == http.StatusBadRequest && codeOf(e) == "":
		return true, nil
	}
	return false, e
}

// isPlainDenial says that the account is known, but may not do this.
func isPlainDenial(err error) bool {
	code := codeOf(err)
	return code == "" || code == "Forbidden" || code == "AccessDenied"
}

// codeOf is the store's own; HEAD requests have none.
func codeOf(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() == "UnknownError" || api.ErrorCode() == "BadRequest" {
		return ""
	}
	return api.ErrorCode()
}

// CreateUnseen implements Inspector.
func (b *s3Bucket) CreateUnseen(ctx context.Context, key string, body []byte) error {
	if err := checkKey(key); err != nil {
		return err
	}
	ctx, cancel := withRequestTimeout(ctx)
	defer cancel()
	return b.createIfAbsent(ctx, key, body, false)
}

// Inspect implements Inspector.
func (b *s3Bucket) Inspect(ctx context.Context) (Inspection, error) {
	i := Inspection{Endpoint: b.where()}
	if err := b.inspectClock(ctx, &i); err != nil {
		return Inspection{}, err
	}
	for _, look := range []func(context.Context, *Inspection) error{b.inspectVersioning, b.inspectLock} {
		if err := look(ctx, &i); err != nil {
			return Inspection{}, err
		}
	}
	return i, nil
}

// inspectClock asks for something that the account most likely may see. A refusal
// tells the time, too.
func (b *s3Bucket) inspectClock(ctx context.Context, i *Inspection) error {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	out, err := b.client.ListObjectsV2(request, &s3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &b.prefix, MaxKeys: aws.Int32(1)})
	if err == nil {
		i.ServerTime, i.LocalTime = clocks(out.ResultMetadata)
		return nil
	}
	if !isPlainDenial(err) {
		return b.fail(request, "inspect", "", err)
	}
	i.ServerTime, i.LocalTime = serverTime(err), time.Now()
	return b.unlessUnknown(request, err)
}

func clocks(m middleware.Metadata) (server, local time.Time) {
	server, _ = awsmiddleware.GetServerTime(m)
	local, _ = awsmiddleware.GetResponseAt(m)
	return server.UTC(), local
}

// unlessUnknown is nil for what this account may not ask and what the server
// doesn't know.
func (b *s3Bucket) unlessUnknown(ctx context.Context, err error) error {
	e := b.fail(ctx, "inspect", "", err)
	switch status := statusOf(err); {
	case e.kind == ErrNoBucket:
		return e
	case status == http.StatusForbidden && isPlainDenial(err), status == http.StatusNotFound, status == http.StatusNotImplemented, status == http.StatusBadRequest, status == http.StatusMethodNotAllowed:
		return nil
	}
	return e
}

func (b *s3Bucket) inspectVersioning(ctx context.Context, i *Inspection) error {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	out, err := b.client.GetBucketVersioning(request, &s3.GetBucketVersioningInput{Bucket: &b.bucket})
	if err != nil {
		return b.unlessUnknown(request, err)
	}
	i.Versioning = No
	if out.Status == types.BucketVersioningStatusEnabled {
		i.Versioning = Yes
	}
	return nil
}

func (b *s3Bucket) inspectLock(ctx context.Context, i *Inspection) error {
	request, cancel := withRequestTimeout(ctx)
	defer cancel()
	out, err := b.client.GetObjectLockConfiguration(request, &s3.GetObjectLockConfigurationInput{Bucket: &b.bucket})
	switch {
	case err != nil && codeOf(err) == "ObjectLockConfigurationNotFoundError":
		i.Lock = No
		return nil
	case err != nil:
		return b.unlessUnknown(request, err)
	}
	i.Lock = No
	c := out.ObjectLockConfiguration
	if c == nil || c.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return nil
	}
	i.LockRule = "object lock without a default retention"
	if c.Rule != nil && c.Rule.DefaultRetention != nil {
		i.Lock, i.LockRule = Yes, ruleText(*c.Rule.DefaultRetention)
	}
	return nil
}

func ruleText(r types.DefaultRetention) string {
	number, unit := aws.ToInt32(r.Days), "days"
	if number == 0 {
		number, unit = aws.ToInt32(r.Years), "years"
	}
	return fmt.Sprintf("%s, %d %s", strings.ToLower(string(r.Mode)), number, unit)
}

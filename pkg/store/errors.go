package store

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// What went wrong, for errors.Is.
var (
	// ErrNotExist: there is no such object.
	ErrNotExist = errors.New("object does not exist")
	// ErrExists: Create found an object.
	ErrExists = errors.New("object already exists")
	// ErrLocked: a retention rule or a legal hold protects the object. The error
	// is a *LockedError too.
	ErrLocked = errors.New("object is locked")
	// ErrNoBucket: there is no such bucket.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrDenied: the store, or whoever gives us credentials, refused.
	ErrDenied = errors.New("access denied")
	// ErrUnavailable: the store can't be reached, doesn't answer, or says
	// that it can't do it now.
	ErrUnavailable = errors.New("storage is unavailable")
)

// LockedError is an object that can't be deleted or replaced yet.
type LockedError struct {
	// Key is the object's, relative to the location's prefix.
	Key string
	// Until is when its retention ends, in UTC; zero when the store doesn't say.
	Until time.Time
	// Hold says that a legal hold is on it, which ends when somebody takes it off.
	Hold bool
}

// Error names the object and until when it is locked.
func (e *LockedError) Error() string {
	switch {
	case e.Hold:
		return fmt.Sprintf("object %q is under a legal hold", e.Key)
	case e.Until.IsZero():
		return fmt.Sprintf("object %q is locked by a retention rule of the bucket", e.Key)
	}
	return fmt.Sprintf("object %q is locked until %s", e.Key, e.Until.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// Is makes it ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Temporary says whether the same call may succeed later without anybody
// changing anything.
func Temporary(err error) bool {
	return errors.Is(err, ErrUnavailable)
}

// opError is an operation on the store that failed.
type opError struct {
	// op says what was tried, on what, and where.
	op string
	// kind is one of the sentinels, or nil.
	kind error
	// cause, or nil, stays reachable for errors.Is and errors.As; it isn't
	// printed, since it may hold what must not be shown.
	cause error
	// detail is the part of the cause that is safe to show.
	detail string
	hint   string
}

func (e *opError) Error() string {
	parts := []string{e.op}
	if e.kind != nil {
		parts = append(parts, e.kind.Error())
	}
	if e.detail != "" {
		parts = append(parts, e.detail)
	}
	text := strings.Join(parts, ": ")
	if e.hint != "" {
		text += "; hint: " + e.hint
	}
	return text
}

// Unwrap gives the sentinel and the cause, as far as there are any.
func (e *opError) Unwrap() []error {
	var chain []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			chain = append(chain, err)
		}
	}
	return chain
}

// signedParts matches what makes a signed URL or an Authorization header worth
// stealing.
var signedParts = regexp.MustCompile(`(?i)((?:X-Amz-)?(?:Sig(?:nature)?|Credential|Security-Token)(?:=|:\s*))[^\s&,"'<>]+`)

// scrub removes signatures and the given secrets from a text and makes it one
// line.
func scrub(text string, secrets ...string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "REDACTED")
		}
	}
	return signedParts.ReplaceAllString(text, "${1}REDACTED")
}

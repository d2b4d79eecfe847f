package store

import (
	"errors"
	"regexp"
	"strings"
)

// What went wrong, for errors.Is.
var (
	// ErrNotExist: there is no such object.
	ErrNotExist = errors.New("object does not exist")
	// ErrExists: Create found an object.
	ErrExists = errors.New("object already exists")
	// ErrNoBucket: there is no such bucket.
	ErrNoBucket = errors.New("bucket does not exist")
	// ErrDenied: the store, or whoever gives us credentials, refused.
	ErrDenied = errors.New("access denied")
	// ErrUnavailable: the store can't be reached, doesn't answer, or says
	// that it can't do it now.
	ErrUnavailable = errors.New("storage is unavailable")
)

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
var signedParts = regexp.MustCompile(`(?i)((?:X-Amz-)?(?:Signature|Credential|Security-Token)(?:=|:\s*))[^\s&,"'<>]+`)

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

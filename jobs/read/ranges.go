package read

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// span is a part of an object: length bytes from offset on.
type span struct{ offset, length int64 }

// contentRange is the value of the Content-Range header of s in an object of
// size bytes.
func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}

// wanted tells which part of an object a request is for (RFC 9110, section 14):
// partial is false for the whole of it, satisfiable is false when the range lies
// outside the object. What isn't one plain byte range is ignored, as the RFC
// allows, and so is a range whose If-Range names another version of the object.
func wanted(header http.Header, etag string, size int64) (part span, partial, satisfiable bool) {
	whole := span{length: size}
	if condition := header.Get("If-Range"); condition != "" && condition != etag {
		return whole, false, true
	}
	spec, ok := strings.CutPrefix(header.Get("Range"), "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return whole, false, true
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return whole, false, true
	}
	part, ok = parseSpan(first, last, size)
	if !ok {
		return whole, false, true
	}
	return part, true, part.length > 0
}

// parseSpan reads the two ends of a range; ok is false when they are no range.
// A range outside the object has length 0.
func parseSpan(first, last string, size int64) (part span, ok bool) {
	if first == "" {
		n, ok := position(last)
		n = min(n, size)
		return span{offset: size - n, length: n}, ok
	}
	from, ok := position(first)
	if !ok {
		return span{}, false
	}
	to := size - 1
	if last != "" {
		end, ok := position(last)
		if !ok || end < from {
			return span{}, false
		}
		to = min(to, end)
	}
	return span{offset: from, length: max(0, to-from+1)}, true
}

func position(digits string) (int64, bool) {
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), err == nil
}

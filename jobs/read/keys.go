package read

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scope is the set of key prefixes that may be read. Keys are compared as they
// are and never cleaned: one that isn't clean is refused, so no spelling of a
// key can name an object outside the scope.
type scope []string

// parseScope checks the prefixes, none of which may be the whole bucket.
func parseScope(prefixes []string) (scope, error) {
	var s scope
	for _, prefix := range prefixes {
		if !cleanKey(strings.TrimSuffix(prefix, "/")) {
			return nil, fmt.Errorf("prefix %q: want a relative path such as %q", prefix, "backups/NAME/")
		}
		s = append(s, prefix)
	}
	return s, nil
}

// hasKey reports whether the object key may be read.
func (s scope) hasKey(key string) bool {
	return cleanKey(key) && slices.ContainsFunc(s, func(allowed string) bool { return below(key, allowed) })
}

// hasPrefix reports whether every key below prefix may be read.
func (s scope) hasPrefix(prefix string) bool {
	return cleanKey(strings.TrimSuffix(prefix, "/")) &&
		slices.ContainsFunc(s, func(allowed string) bool { return strings.HasSuffix(allowed, "/") && below(prefix, allowed) })
}

// below reports whether key lies below prefix; one without a final "/" is a key
// of its own.
func below(key, prefix string) bool {
	if strings.HasSuffix(prefix, "/") {
		return strings.HasPrefix(key, prefix)
	}
	return key == prefix
}

// cleanKey reports whether key is a relative slash-separated path without empty,
// "." or ".." segments, backslashes or unprintable characters.
func cleanKey(key string) bool {
	return key != "" && utf8.ValidString(key) &&
		!strings.ContainsFunc(key, func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) }) &&
		path.Clean("/"+key) == "/"+key
}

package cluster

import "github.com/go-json-experiment/json/jsontext"

// Object is one object as the API server sent it. Raw is valid only during the
// call that hands the Object over; everything else may be kept.
type Object struct {
	// APIVersion and Kind are those of the list where the API server leaves them
	// out of its items, as it does for built-in kinds.
	APIVersion, Kind string
	// Namespace is empty for a cluster-scoped object.
	Namespace, Name string
	// Labels is nil when there are none.
	Labels map[string]string
	UID    string
	// Deleting says that the object has a deletion timestamp.
	Deleting bool
	// Raw is one JSON object, valid, without two members of the same name,
	// compact or not.
	Raw []byte

	apiVersion, kind span // their values in Raw, when they are there but empty
	untyped          untyped
}

// untyped says what an object as sent lacks of its type.
type untyped uint8

const (
	noAPIVersion untyped = 1 << iota
	noKind
)

// span is a part of an object's bytes; the zero value is none.
type span struct{ from, to int }

// AppendJSON appends the object's JSON to dst, with apiVersion and kind in front
// when the API server left them out, and returns the extended slice.
func (o Object) AppendJSON(dst []byte) []byte {
	if o.apiVersion.to > 0 || o.kind.to > 0 {
		return o.appendFilled(dst)
	}
	return o.appendTyped(dst, o.Raw)
}

func (o Object) appendTyped(dst, raw []byte) []byte {
	if o.untyped == 0 {
		return append(dst, raw...)
	}
	dst = append(dst, '{')
	if o.untyped&noAPIVersion != 0 {
		dst = append(appendString(append(dst, `"apiVersion":`...), o.APIVersion), ',')
	}
	if o.untyped&noKind != 0 {
		dst = append(appendString(append(dst, `"kind":`...), o.Kind), ',')
	}
	inside := cursor{text: raw, at: 1}
	if inside.space(); raw[inside.at] == '}' {
		dst = dst[:len(dst)-1] // nothing follows the comma
	}
	return append(dst, raw[inside.at:]...)
}

// appendFilled replaces an empty apiVersion or kind, which nothing could read.
func (o Object) appendFilled(dst []byte) []byte {
	raw := make([]byte, 0, len(o.Raw)+len(o.APIVersion)+len(o.Kind))
	first, last := fill{o.apiVersion, o.APIVersion}, fill{o.kind, o.Kind}
	if last.from < first.from {
		first, last = last, first
	}
	at := 0
	for _, f := range []fill{first, last} {
		if f.to > 0 {
			raw = appendString(append(raw, o.Raw[at:f.from]...), f.text)
			at = f.to
		}
	}
	return o.appendTyped(dst, append(raw, o.Raw[at:]...))
}

type fill struct {
	span
	text string
}

// appendString appends text as a JSON string.
func appendString(dst []byte, text string) []byte {
	// The only error is invalid UTF-8, which is replaced; no group, version or
	// kind that the API server serves has any.
	dst, _ = jsontext.AppendQuote(dst, text)
	return dst
}

package transform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

var (
	errNoMap  = errors.New("it is no map")
	errNoList = errors.New("it is no list")
	errNoText = errors.New("it is no text")
)

// scanner reads one JSON value from its beginning to its end. Values that it
// returns as JSON are parts of the text it was given, not copies.
type scanner struct {
	*jsontext.Decoder
	text []byte
}

var decoders = sync.Pool{New: func() any { return new(jsontext.Decoder) }}

// scan returns a scanner for text from outside: what isn't JSON, isn't UTF-8 or
// names a member twice is an error. It must be released.
func scan(text []byte) scanner { return newScanner(text) }

// rescan is scan for text that was scanned before, and checks less.
func rescan(text []byte) scanner { return newScanner(text, unchecked...) }

var unchecked = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

func newScanner(text []byte, options ...jsontext.Options) scanner {
	decoder := decoders.Get().(*jsontext.Decoder)
	decoder.Reset(bytes.NewBuffer(text), options...) // read where it is, not copied
	return scanner{decoder, text}
}

func (s scanner) release() {
	s.Reset(nothing) // the text may be large
	decoders.Put(s.Decoder)
}

var nothing = bytes.NewReader(nil)

// raw returns the next value as JSON.
func (s scanner) raw() (json.RawMessage, error) {
	value, err := s.ReadValue()
	if err != nil {
		return nil, err
	}
	end := s.InputOffset()
	return json.RawMessage(s.text[end-int64(len(value)) : end : end]), nil
}

// string returns the next value, which is a text; null is an empty one.
func (s scanner) string() (string, error) {
	switch s.PeekKind() {
	case jsontext.KindNull:
		return "", s.SkipValue()
	case jsontext.KindString:
		token, err := s.ReadToken()
		if err != nil {
			return "", err
		}
		return token.String(), nil
	}
	return "", s.refuse(errNoText)
}

// refuse returns why the next value isn't what was expected; that it isn't JSON
// at all comes first.
func (s scanner) refuse(reason error) error {
	if err := s.SkipValue(); err != nil {
		return err
	}
	return reason
}

// member moves to the value of the next member of an object and returns the
// member's name as JSON, to be used before anything else is read. It is called first at the object's beginning, which may be
// null, then behind each value. Behind the last one it moves behind the object,
// and ok is false.
func (s scanner) member(first bool) (quoted []byte, ok bool, err error) {
	if first {
		switch s.PeekKind() {
		case jsontext.KindNull:
			return nil, false, s.SkipValue()
		case jsontext.KindBeginObject:
		default:
			return nil, false, s.refuse(errNoMap)
		}
		if _, err := s.ReadToken(); err != nil {
			return nil, false, err
		}
	}
	if s.PeekKind() == jsontext.KindEndObject {
		_, err := s.ReadToken()
		return nil, false, err
	}
	quoted, err = s.ReadValue()
	return quoted, err == nil, err
}

// end makes sure that nothing follows.
func (s scanner) end() error {
	switch _, err := s.ReadToken(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("more than one value")
	default:
		return fmt.Errorf("after the value: %w", err)
	}
}

// memberName returns what a quoted name says.
func memberName(quoted []byte) string {
	if name, ok := commonNames[string(quoted)]; ok {
		return name
	}
	return unquote(quoted)
}

// isQuoted reports whether a quoted name says name.
func isQuoted(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	return unquote(quoted) == name
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	plain, _ := jsontext.AppendUnquote(nil, quoted) // it was scanned, so there is no error
	return string(plain)
}

// commonNames are those that nearly every object has, so that they aren't
// allocated for each.
var commonNames = quoted(
	"apiVersion", "kind", "metadata", "spec", "status", "data", "type", "name", "namespace", "labels", "annotations",
	"managedFields", "finalizers", "generateName", "uid", "resourceVersion", "generation", "creationTimestamp",
	"ownerReferences", "template", "containers", "image", "env", "value", "valueFrom", "key", "ports", "port",
	"protocol", "resources", "limits", "requests", "cpu", "memory", "volumeMounts", "mountPath", "volumes", "readOnly",
	"selector", "matchLabels", "app", "operator", "effect", "path", "rules", "verbs", "apiGroups", "nodeName",
)

func quoted(names ...string) map[string]string {
	m := make(map[string]string, len(names))
	for _, name := range names {
		m[`"`+name+`"`] = name
	}
	return m
}

package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// readSize is how much of a response is read at once.
	readSize = 64 << 10
	// maxObject bounds one object. etcd refuses objects of more than a few MiB;
	// an API server that keeps its objects elsewhere must not fill our memory.
	maxObject = 64 << 20
)

// errTooLarge says that an object exceeds maxObject.
var errTooLarge = errors.New("an object is too large")

// splitter takes responses apart: it hands over one object after another and
// holds no more than the current one and a buffer. Every byte is checked to be
// JSON in UTF-8, without two members of the same name in an object, which two
// readers could understand differently.
type splitter struct {
	buffer  *bufio.Reader
	decoder *jsontext.Decoder
	largest int // bytes of an object that are accepted
	left    int // bytes that the current object may still have
}

func newSplitter(largest int) *splitter {
	s := &splitter{buffer: bufio.NewReaderSize(nil, readSize), largest: largest}
	s.decoder = jsontext.NewDecoder(s)
	return s
}

func (s *splitter) reset(body io.Reader) {
	s.buffer.Reset(body)
	s.decoder.Reset(s)
	s.left = s.largest
}

// Read is for the decoder, which reads ahead a little: an object ends to be
// allowed between largest and a few KiB more.
func (s *splitter) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", errTooLarge, s.largest)
	}
	n, err := s.buffer.Read(p)
	s.left -= n
	return n, err
}

// list reads a list and calls object with the bytes of each item, valid during
// the call only, and meta with the list's metadata, before the items where the
// API server sends them in this order, as all known ones do.
func (s *splitter) list(body io.Reader, meta func(metav1.ListMeta), object func(raw []byte) error) error {
	s.reset(body)
	if err := s.expect(jsontext.KindBeginObject); err != nil {
		return err
	}
	hasItems := false
	for s.decoder.PeekKind() == jsontext.KindString {
		name, err := s.decoder.ReadToken()
		if err != nil {
			return broken(err)
		}
		switch name.String() {
		case "metadata":
			err = s.metadata(meta)
		case "items":
			hasItems = true
			err = s.items(object)
		default:
			s.left = s.largest
			err = broken(s.decoder.SkipValue())
		}
		if err != nil {
			return err
		}
	}
	if err := s.expect(jsontext.KindEndObject); err != nil {
		return err
	}
	if !hasItems {
		return broken(errors.New("the response is no list"))
	}
	return s.end()
}

func (s *splitter) metadata(use func(metav1.ListMeta)) error {
	s.left = s.largest
	value, err := s.decoder.ReadValue()
	if err != nil {
		return broken(err)
	}
	var meta metav1.ListMeta
	if err := json.Unmarshal(value, &meta); err != nil {
		return broken(err)
	}
	use(meta)
	return nil
}

func (s *splitter) items(object func(raw []byte) error) error {
	s.left = s.largest
	if s.decoder.PeekKind() == jsontext.KindNull { // an empty list
		return broken(s.decoder.SkipValue())
	}
	if err := s.expect(jsontext.KindBeginArray); err != nil {
		return err
	}
	for s.left = s.largest; s.decoder.PeekKind() != jsontext.KindEndArray; s.left = s.largest {
		raw, err := s.decoder.ReadValue()
		if err != nil {
			return broken(err)
		}
		if err := object(raw); err != nil {
			return err
		}
	}
	return s.expect(jsontext.KindEndArray)
}

// object reads a response that is one object.
func (s *splitter) object(body io.Reader) ([]byte, error) {
	s.reset(body)
	raw, err := s.decoder.ReadValue()
	if err != nil {
		return nil, broken(err)
	}
	return raw, nil
}

// end makes sure that nothing follows: an API server that fails in the middle of
// a response appends the error to it.
func (s *splitter) end() error {
	if _, err := s.decoder.ReadToken(); err != io.EOF {
		return broken(errors.Join(err, errors.New("the response goes on behind its end")))
	}
	return nil
}

func (s *splitter) expect(want jsontext.Kind) error {
	token, err := s.decoder.ReadToken()
	if err != nil {
		return broken(err)
	}
	if token.Kind() != want {
		return broken(fmt.Errorf("the response has %s where %s was expected", token.Kind(), want))
	}
	return nil
}

// errBroken marks a response that broke off or isn't JSON. An API server that
// fails in the middle of a response can only break off or add what doesn't fit.
var errBroken = errors.New("broken response")

func broken(err error) error {
	if err == nil || errors.Is(err, errTooLarge) {
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

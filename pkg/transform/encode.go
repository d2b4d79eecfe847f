package transform

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Encode returns the object as JSON, its fields in the order in which they came
// but for apiVersion, kind and metadata, which are first.
func (o *Object) Encode() ([]byte, error) {
	e := encoder{out: make([]byte, 0, o.size+256)} // labels and annotations may come
	e.begin()
	e.text("apiVersion", o.apiVersion)
	e.text("kind", o.kind)
	e.name("metadata")
	o.encodeMeta(&e)
	e.fields(o.top)
	e.end()
	if e.err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", o.kind, o.name, e.err)
	}
	return e.out, nil
}

func (o *Object) encodeMeta(e *encoder) {
	e.begin()
	e.text("name", o.name)
	if o.namespace != "" {
		e.text("namespace", o.namespace)
	}
	e.texts("labels", o.labels)
	e.texts("annotations", o.annotations)
	e.fields(o.meta)
	e.end()
}

// encoder writes JSON. After an error it goes on writing what nobody reads.
type encoder struct {
	out  []byte
	err  error
	next bool // a member came before
}

func (e *encoder) begin() { e.out, e.next = append(e.out, '{'), false }
func (e *encoder) end()   { e.out, e.next = append(e.out, '}'), true }

func (e *encoder) keep(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *encoder) name(name string) {
	var err error
	e.out, err = appendName(e.out, name, !e.next)
	e.keep(err)
	e.next = true
}

func (e *encoder) text(name, value string) {
	e.name(name)
	var err error
	e.out, err = jsontext.AppendQuote(e.out, value)
	e.keep(err)
}

func (e *encoder) texts(name string, t texts) {
	if len(t.values) == 0 {
		return
	}
	e.name(name)
	if t.raw != nil {
		e.out = append(e.out, t.raw...)
		return
	}
	e.begin()
	for _, key := range sortedKeys(t.values) {
		e.text(key, t.values[key])
	}
	e.end()
}

func (e *encoder) fields(all fields) {
	for i := range all {
		e.name(all[i].name)
		if all[i].value == nil {
			e.out = append(e.out, all[i].raw...)
			continue
		}
		var err error
		e.out, err = appendValue(e.out, all[i].value)
		e.keep(err)
	}
}

package transform

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Parse reads one object. It refuses what is no object of Kubernetes: text that
// isn't JSON or says a thing twice, no kind, no name or one that no object can
// have, labels that aren't text. The Object keeps body, which must not change
// from then on.
func Parse(body []byte) (*Object, error) {
	o := &Object{size: len(body), top: make(fields, 0, 6), meta: make(fields, 0, 8)}
	s := scan(body)
	defer s.release()
	if err := o.parse(s); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return o, nil
}

func (o *Object) parse(s scanner) error {
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		name := memberName(quoted)
		switch name {
		case "apiVersion":
			o.apiVersion, err = s.string()
		case "kind":
			o.kind, err = s.string()
		case "metadata":
			err = o.parseMeta(s)
		default:
			err = o.top.read(s, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	return o.check()
}

func (o *Object) parseMeta(s scanner) error {
	for first := true; ; first = false {
		quoted, ok, err := s.member(first)
		if err != nil || !ok {
			return err
		}
		name := memberName(quoted)
		switch name {
		case "name":
			o.name, err = s.string()
		case "namespace":
			o.namespace, err = s.string()
		case "labels":
			err = o.labels.read(s)
		case "annotations":
			err = o.annotations.read(s)
		default:
			err = o.meta.read(s, name)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
}

// check refuses what can't be addressed in the API.
func (o *Object) check() error {
	if o.apiVersion == "" || o.kind == "" || o.name == "" {
		return errors.New("it has no apiVersion, kind or name")
	}
	if _, err := schema.ParseGroupVersion(o.apiVersion); err != nil {
		return err
	}
	for _, name := range []string{o.name, o.namespace} {
		if problems := content.IsPathSegmentName(name); len(problems) > 0 {
			return fmt.Errorf("name %q: %s", name, problems[0])
		}
	}
	return nil
}

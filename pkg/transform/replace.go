package transform

import "fmt"

// JSON is Encode, for those who change the object as a whole and give it back
// with Replace.
func (o *Object) JSON() ([]byte, error) { return o.Encode() }

// Replace makes the object what body is. apiVersion, kind and name must be what
// they were; the namespace, and what Status returns, stay what they were
// whatever body says. The Object keeps body, which must not change from then
// on. After an error it is what it was.
func (o *Object) Replace(body []byte) error {
	changed, err := Parse(body)
	if err != nil {
		return err
	}
	for _, field := range []struct{ name, was, is string }{
		{"apiVersion", o.apiVersion, changed.apiVersion},
		{"kind", o.kind, changed.kind},
		{"metadata.name", o.name, changed.name},
	} {
		if field.was != field.is {
			return fmt.Errorf("replace object: its %s can't be changed from %q to %q", field.name, field.was, field.is)
		}
	}
	changed.namespace, changed.status = o.namespace, o.status
	*o = *changed
	return nil
}

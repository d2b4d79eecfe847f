package flag

import "errors"

// Name is the name of an object. It can't be given empty: that would be a
// variable of the shell that isn't set. The zero value is no name.
type Name string

// Set refuses only the empty name.
func (n *Name) Set(s string) error {
	if s == "" {
		return errors.New("the name is empty; hint: give a name, or leave the flag out")
	}
	*n = Name(s)
	return nil
}

// String gives the name.
func (n *Name) String() string { return string(*n) }

// Type is the name that help shows.
func (n *Name) Type() string { return "string" }

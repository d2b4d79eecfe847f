package flag

import (
	"fmt"
	"strconv"

	"github.com/spf13/pflag"
)

// OptionalBool is a boolean that may be left unset. The zero value is unset.
type OptionalBool struct {
	// Value is nil while the flag was not given.
	Value *bool
}

// Set accepts what strconv.ParseBool does.
func (b *OptionalBool) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", s)
	}
	b.Value = &v
	return nil
}

// String gives true, false or <nil>.
func (b *OptionalBool) String() string {
	if b.Value == nil {
		return "<nil>"
	}
	return strconv.FormatBool(*b.Value)
}

// Type is the name that help shows.
func (b *OptionalBool) Type() string { return "optionalBool" }

// AddOptionalBool defines an OptionalBool flag in fs. The bare flag means
// true; false is written --name=false.
func AddOptionalBool(fs *pflag.FlagSet, b *OptionalBool, name, usage string) {
	fs.VarPF(b, name, "", usage).NoOptDefVal = "true"
}

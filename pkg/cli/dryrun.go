package cli

import (
	"fmt"

	"github.com/spf13/pflag"
)

// dryRun is kubectl's flag --dry-run, as far as it is known here.
type dryRun string

const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client"
)

func (d *dryRun) add(fs *pflag.FlagSet) {
	*d = dryRunNone
	fs.VarPF(d, "dry-run", "", `"client" checks the flags and creates nothing; with -o it prints what would be created.`).NoOptDefVal = string(dryRunClient)
}

// Set accepts none and client.
func (d *dryRun) Set(s string) error {
	switch dryRun(s) {
	case dryRunNone, dryRunClient:
		*d = dryRun(s)
		return nil
	}
	return fmt.Errorf("%q is not known; hint: there are none and client", s)
}

// String is the value.
func (d *dryRun) String() string { return string(*d) }

// Type is the name that help shows.
func (d *dryRun) Type() string { return "string" }

package cli

import (
	"github.com/spf13/pflag"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/flag"
)

// The words that --dry-run takes; server is for commands with a preview.
const (
	dryRunNone   = "none"
	dryRunClient = "client"
	dryRunServer = "server"
)

// dryRun is kubectl's flag --dry-run.
type dryRun struct{ flag.Choice }

func (d *dryRun) add(fs *pflag.FlagSet) {
	d.define(fs, flag.NewChoice(dryRunNone, dryRunClient), "")
}

// addWithServer defines the flag for a command that can ask the cluster what
// would happen.
func (d *dryRun) addWithServer(fs *pflag.FlagSet) {
	d.define(fs, flag.NewChoice(dryRunNone, dryRunClient, dryRunServer),
		` "server" asks the cluster what would become of each object, and exits with 1 if something would fail.`)
}

func (d *dryRun) define(fs *pflag.FlagSet, words flag.Choice, more string) {
	d.Choice = words
	d.Value = dryRunNone
	fs.VarPF(d, "dry-run", "", `"client" checks the flags and creates nothing; with -o it prints what would be created.`+more).NoOptDefVal = dryRunClient
}

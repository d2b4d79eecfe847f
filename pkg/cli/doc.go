// Package cli is the command line: it turns flags into options, calls the
// packages that do the work, and prints. One file holds one verb. Each verb is
// built as flags (what was typed), options (clients and parsed values) and a
// run method that knows no cobra. Results go to Out; progress, warnings and
// questions go to ErrOut. The plugin has no logger and links no cloud SDK: what
// it needs from a bucket it gets from a reader Job.
package cli

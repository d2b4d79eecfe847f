// Package flag holds the flag types of Velero's command line, so that a
// script written for Velero means the same here: lists whose last use wins,
// booleans with a third state, maps, label selectors and durations. It knows
// neither Kubernetes clients nor commands; it implements pflag.Value.
package flag

// Package describe writes what is known of a Backup or a Restore for a person,
// in the layout and under the labels of Velero's describe commands, and of a
// Backup also as JSON. It reads nothing itself: the caller gathers what goes in.
package describe

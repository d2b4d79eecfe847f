// Package volume is what a backup knows about the data of volumes: how that of each
// was to be saved, what became of it, and the records of that in the bucket, in the
// form that Velero reads and writes.
package volume

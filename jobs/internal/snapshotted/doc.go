// Package snapshotted is, for integration tests, an installation whose volumes can be
// snapshotted: a CSI driver, a cloud, and backups that have snapshots of both.
package snapshotted

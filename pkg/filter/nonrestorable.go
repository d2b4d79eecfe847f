package filter

import "slices"

// nonRestorable are kinds that describe a cluster or an installation itself.
var nonRestorable = []string{
	"nodes", "events", "events.events.k8s.io", "backups.velero.io", "restores.velero.io",
	"resticrepositories.velero.io", "csinodes.storage.k8s.io", "volumeattachments.storage.k8s.io",
	"backuprepositories.velero.io",
}

// NonRestorable reports whether a kind, as in "nodes" or "restores.velero.io", is
// one that no restore brings back. To include it by that name is a mistake.
func NonRestorable(resource string) bool { return slices.Contains(nonRestorable, resource) }

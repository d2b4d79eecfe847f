// Package v1 holds the Go types of the velero.io/v1 API group: Backup, Restore,
// Schedule, the storage and snapshot locations, and the objects that record volume
// backups. Names and JSON fields are those of Velero 1.18, so that objects written
// by either program are read by the other. The package holds types, the labels and
// annotations that go with them, and nothing that talks to a cluster; see package
// client for that.
//
// No kind has a status subresource: status is written with an ordinary update or
// patch of the object, and a create may carry it.
//
// +kubebuilder:object:generate=true
// +groupName=velero.io
package v1

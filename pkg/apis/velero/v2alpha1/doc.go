// Package v2alpha1 holds the Go types of the velero.io/v2alpha1 API group: DataUpload
// and DataDownload, the records of moving the data of volume snapshots to and from a
// storage location. Names and JSON fields are those of Velero 1.18.
//
// No kind has a status subresource.
//
// +kubebuilder:object:generate=true
// +groupName=velero.io
package v2alpha1

// Package csi takes, keeps, restores and deletes the snapshots of CSI drivers: by
// objects of the API group snapshot.storage.k8s.io, which the snapshot controller and
// the drivers' sidecars act on.
package csi

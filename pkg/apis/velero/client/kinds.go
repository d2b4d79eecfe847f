package client

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v2alpha1"
)

// Backups returns the client for Backups in a namespace; "" lists those of all.
func (c *Client) Backups(namespace string) *Backups {
	return typed(c, c.v1, "backups", namespace, func() *velerov1.Backup { return &velerov1.Backup{} }, func() *velerov1.BackupList { return &velerov1.BackupList{} })
}

// BackupRepositories returns the client for BackupRepositories in a namespace; "" lists those of all.
func (c *Client) BackupRepositories(namespace string) *BackupRepositories {
	return typed(c, c.v1, "backuprepositories", namespace, func() *velerov1.BackupRepository { return &velerov1.BackupRepository{} }, func() *velerov1.BackupRepositoryList { return &velerov1.BackupRepositoryList{} })
}

// BackupStorageLocations returns the client for BackupStorageLocations in a namespace; "" lists those of all.
func (c *Client) BackupStorageLocations(namespace string) *BackupStorageLocations {
	return typed(c, c.v1, "backupstoragelocations", namespace, func() *velerov1.BackupStorageLocation { return &velerov1.BackupStorageLocation{} }, func() *velerov1.BackupStorageLocationList { return &velerov1.BackupStorageLocationList{} })
}

// DeleteBackupRequests returns the client for DeleteBackupRequests in a namespace; "" lists those of all.
func (c *Client) DeleteBackupRequests(namespace string) *DeleteBackupRequests {
	return typed(c, c.v1, "deletebackuprequests", namespace, func() *velerov1.DeleteBackupRequest { return &velerov1.DeleteBackupRequest{} }, func() *velerov1.DeleteBackupRequestList { return &velerov1.DeleteBackupRequestList{} })
}

// DownloadRequests returns the client for DownloadRequests in a namespace; "" lists those of all.
func (c *Client) DownloadRequests(namespace string) *DownloadRequests {
	return typed(c, c.v1, "downloadrequests", namespace, func() *velerov1.DownloadRequest { return &velerov1.DownloadRequest{} }, func() *velerov1.DownloadRequestList { return &velerov1.DownloadRequestList{} })
}

// PodVolumeBackups returns the client for PodVolumeBackups in a namespace; "" lists those of all.
func (c *Client) PodVolumeBackups(namespace string) *PodVolumeBackups {
	return typed(c, c.v1, "podvolumebackups", namespace, func() *velerov1.PodVolumeBackup { return &velerov1.PodVolumeBackup{} }, func() *velerov1.PodVolumeBackupList { return &velerov1.PodVolumeBackupList{} })
}

// PodVolumeRestores returns the client for PodVolumeRestores in a namespace; "" lists those of all.
func (c *Client) PodVolumeRestores(namespace string) *PodVolumeRestores {
	return typed(c, c.v1, "podvolumerestores", namespace, func() *velerov1.PodVolumeRestore { return &velerov1.PodVolumeRestore{} }, func() *velerov1.PodVolumeRestoreList { return &velerov1.PodVolumeRestoreList{} })
}

// Restores returns the client for Restores in a namespace; "" lists those of all.
func (c *Client) Restores(namespace string) *Restores {
	return typed(c, c.v1, "restores", namespace, func() *velerov1.Restore { return &velerov1.Restore{} }, func() *velerov1.RestoreList { return &velerov1.RestoreList{} })
}

// Schedules returns the client for Schedules in a namespace; "" lists those of all.
func (c *Client) Schedules(namespace string) *Schedules {
	return typed(c, c.v1, "schedules", namespace, func() *velerov1.Schedule { return &velerov1.Schedule{} }, func() *velerov1.ScheduleList { return &velerov1.ScheduleList{} })
}

// ServerStatusRequests returns the client for ServerStatusRequests in a namespace; "" lists those of all.
func (c *Client) ServerStatusRequests(namespace string) *ServerStatusRequests {
	return typed(c, c.v1, "serverstatusrequests", namespace, func() *velerov1.ServerStatusRequest { return &velerov1.ServerStatusRequest{} }, func() *velerov1.ServerStatusRequestList { return &velerov1.ServerStatusRequestList{} })
}

// VolumeSnapshotLocations returns the client for VolumeSnapshotLocations in a namespace; "" lists those of all.
func (c *Client) VolumeSnapshotLocations(namespace string) *VolumeSnapshotLocations {
	return typed(c, c.v1, "volumesnapshotlocations", namespace, func() *velerov1.VolumeSnapshotLocation { return &velerov1.VolumeSnapshotLocation{} }, func() *velerov1.VolumeSnapshotLocationList { return &velerov1.VolumeSnapshotLocationList{} })
}

// DataUploads returns the client for DataUploads in a namespace; "" lists those of all.
func (c *Client) DataUploads(namespace string) *DataUploads {
	return typed(c, c.v2alpha1, "datauploads", namespace, func() *v2alpha1.DataUpload { return &v2alpha1.DataUpload{} }, func() *v2alpha1.DataUploadList { return &v2alpha1.DataUploadList{} })
}

// DataDownloads returns the client for DataDownloads in a namespace; "" lists those of all.
func (c *Client) DataDownloads(namespace string) *DataDownloads {
	return typed(c, c.v2alpha1, "datadownloads", namespace, func() *v2alpha1.DataDownload { return &v2alpha1.DataDownload{} }, func() *v2alpha1.DataDownloadList { return &v2alpha1.DataDownloadList{} })
}

// object is what gentype asks of a kind.
type object interface {
	runtime.Object
	metav1.Object
}

func typed[T object, L runtime.Object](
	c *Client, rc rest.Interface, resource, namespace string, newObject func() T, newList func() L,
) *gentype.ClientWithList[T, L] {
	return gentype.NewClientWithList(resource, rc, c.params, namespace, newObject, newList)
}

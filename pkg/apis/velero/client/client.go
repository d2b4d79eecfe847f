// Package client reads and writes velero.io objects in a cluster through typed
// clients. It knows the kinds and nothing of what they are for.
package client

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v2alpha1"
)

// The typed clients. All are bound to one namespace and safe for concurrent use.
//
// No velero.io kind has a status subresource, so UpdateStatus fails with "not found":
// status goes with Create, Update and Patch. Objects that come back have no kind and
// apiVersion set, as with every typed client of client-go.
type (
	// Backups gets, lists, watches and writes Backups.
	Backups = gentype.ClientWithList[*velerov1.Backup, *velerov1.BackupList]
	// BackupRepositories is the same for BackupRepositories.
	BackupRepositories = gentype.ClientWithList[*velerov1.BackupRepository, *velerov1.BackupRepositoryList]
	// BackupStorageLocations is the same for BackupStorageLocations.
	BackupStorageLocations = gentype.ClientWithList[*velerov1.BackupStorageLocation, *velerov1.BackupStorageLocationList]
	// DeleteBackupRequests is the same for DeleteBackupRequests.
	DeleteBackupRequests = gentype.ClientWithList[*velerov1.DeleteBackupRequest, *velerov1.DeleteBackupRequestList]
	// DownloadRequests is the same for DownloadRequests.
	DownloadRequests = gentype.ClientWithList[*velerov1.DownloadRequest, *velerov1.DownloadRequestList]
	// PodVolumeBackups is the same for PodVolumeBackups.
	PodVolumeBackups = gentype.ClientWithList[*velerov1.PodVolumeBackup, *velerov1.PodVolumeBackupList]
	// PodVolumeRestores is the same for PodVolumeRestores.
	PodVolumeRestores = gentype.ClientWithList[*velerov1.PodVolumeRestore, *velerov1.PodVolumeRestoreList]
	// Restores is the same for Restores.
	Restores = gentype.ClientWithList[*velerov1.Restore, *velerov1.RestoreList]
	// Schedules is the same for Schedules.
	Schedules = gentype.ClientWithList[*velerov1.Schedule, *velerov1.ScheduleList]
	// ServerStatusRequests is the same for ServerStatusRequests.
	ServerStatusRequests = gentype.ClientWithList[*velerov1.ServerStatusRequest, *velerov1.ServerStatusRequestList]
	// VolumeSnapshotLocations is the same for VolumeSnapshotLocations.
	VolumeSnapshotLocations = gentype.ClientWithList[*velerov1.VolumeSnapshotLocation, *velerov1.VolumeSnapshotLocationList]
	// DataUploads is the same for DataUploads.
	DataUploads = gentype.ClientWithList[*v2alpha1.DataUpload, *v2alpha1.DataUploadList]
	// DataDownloads is the same for DataDownloads.
	DataDownloads = gentype.ClientWithList[*v2alpha1.DataDownload, *v2alpha1.DataDownloadList]
)

// Client makes the typed clients. It is safe for concurrent use.
type Client struct {
	v1       rest.Interface
	v2alpha1 rest.Interface
	params   runtime.ParameterCodec
}

// New makes a Client for the cluster of cfg, which is left as it is.
func New(cfg *rest.Config) (*Client, error) {
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make HTTP client for the cluster: %w", err)
	}
	return NewForHTTP(cfg, httpClient)
}

// NewForHTTP is New with an HTTP client that is shared with other clients. Address,
// rate limits and user agent still come from cfg; its transport settings do not.
func NewForHTTP(cfg *rest.Config, httpClient *http.Client) (*Client, error) {
	scheme, err := NewScheme()
	if err != nil {
		return nil, err
	}
	c := &Client{params: runtime.NewParameterCodec(scheme)}
	if c.v1, err = restClient(cfg, httpClient, scheme, velerov1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.v2alpha1, err = restClient(cfg, httpClient, scheme, v2alpha1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	return c, nil
}

// NewScheme makes a scheme that knows the velero.io kinds of all versions, and no others.
func NewScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{velerov1.AddToScheme, v2alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register velero.io kinds: %w", err)
		}
	}
	return scheme, nil
}

func restClient(cfg *rest.Config, httpClient *http.Client, scheme *runtime.Scheme, gv schema.GroupVersion) (rest.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.GroupVersion = &gv
	cfg.APIPath = "/apis"
	// Custom resources have no protobuf form, whatever the caller uses for other kinds.
	cfg.ContentType = runtime.ContentTypeJSON
	cfg.AcceptContentTypes = runtime.ContentTypeJSON
	cfg.NegotiatedSerializer = rest.CodecFactoryForGeneratedClient(scheme, serializer.NewCodecFactory(scheme)).WithoutConversion()
	if cfg.UserAgent == "" {
		cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	}
	c, err := rest.RESTClientForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("make client for %s: %w", gv, err)
	}
	return c, nil
}

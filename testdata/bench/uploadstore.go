package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// uploadKind is a kind of store, and the client that its uploads are compared with.
type uploadKind struct {
	name, client string
	start        func(ctx context.Context, folder string) (*uploadStore, error)
}

// uploadStore is a store that runs.
type uploadStore struct {
	location store.Location
	// task is what command bestclient needs to know of it.
	task clientTask
	stop func() error
}

// uploadStores are all that are measured.
var uploadStores = []uploadKind{
	{"versitygw", "transfermanager", startVersity},
	{"minio", "transfermanager", startMinIO},
	{"azurite", "azblob UploadStream", startAzurite},
	{"gcs", "storage Writer", startGCS},
	{"filesystem", "copy and sync", startFolder},
}

func startVersity(ctx context.Context, folder string) (*uploadStore, error) {
	return startS3(ctx, testenv.StartOptions{Program: testenv.Versity, Root: folder})
}

func startMinIO(ctx context.Context, folder string) (*uploadStore, error) {
	return startS3(ctx, testenv.StartOptions{Program: testenv.MinIO, Root: folder})
}

func startS3(ctx context.Context, o testenv.StartOptions) (*uploadStore, error) {
	server, err := testenv.StartS3(ctx, o)
	if err != nil {
		return nil, err
	}
	return &uploadStore{
		location: server.Location(bucketName, ""),
		task:     clientTask{Provider: "aws", URL: server.URL, Bucket: bucketName, User: server.AccessKey, Secret: server.SecretKey},
		stop:     server.Stop,
	}, server.CreateBucket(ctx, bucketName)
}

func startAzurite(ctx context.Context, folder string) (*uploadStore, error) {
	server, err := testenv.StartAzurite(ctx, testenv.AzuriteOptions{Root: folder})
	if err != nil {
		return nil, err
	}
	return &uploadStore{
		location: server.Location(bucketName, ""),
		task:     clientTask{Provider: "azure", URL: server.URL, Bucket: bucketName, User: server.Account, Secret: server.Key},
		stop:     server.Stop,
	}, server.CreateContainer(ctx, bucketName)
}

func startGCS(ctx context.Context, folder string) (*uploadStore, error) {
	server, err := testenv.StartGCS(ctx, testenv.GCSOptions{Root: folder})
	if err != nil {
		return nil, err
	}
	return &uploadStore{
		location: server.Location(bucketName, ""),
		task:     clientTask{Provider: "gcp", URL: server.URL, Bucket: bucketName, KeyFile: server.CredentialsFile},
		stop:     server.Stop,
	}, server.CreateBucket(ctx, bucketName, false)
}

func startFolder(_ context.Context, folder string) (*uploadStore, error) {
	return &uploadStore{
		location: store.Location{
			Provider: "filesystem", Bucket: bucketName, Root: folder,
			Config: map[string]string{"persistentVolumeClaim": "bench"},
		},
		task: clientTask{Provider: "filesystem", URL: folder, Bucket: bucketName},
		stop: func() error { return nil },
	}, os.MkdirAll(filepath.Join(folder, bucketName), 0o755)
}

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"google.golang.org/api/option"
)

func uploadS3(ctx context.Context, t task) error {
	client := s3.New(s3.Options{
		BaseEndpoint: &t.URL, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(t.User, t.Secret, ""),
	})
	manager := transfermanager.New(client, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.Concurrency = t.PartBytes, concurrency
	})
	_, err := manager.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &t.Bucket, Key: &t.Key, Body: t.body()})
	return err
}

func uploadAzure(ctx context.Context, t task) error {
	key, err := azblob.NewSharedKeyCredential(t.User, t.Secret)
	if err != nil {
		return err
	}
	client, err := azblob.NewClientWithSharedKeyCredential(t.URL, key, nil)
	if err != nil {
		return err
	}
	_, err = client.UploadStream(ctx, t.Bucket, t.Key, t.body(), &azblob.UploadStreamOptions{BlockSize: t.PartBytes, Concurrency: concurrency})
	return err
}

func uploadGCS(ctx context.Context, t task) (err error) {
	client, err := storage.NewClient(ctx, option.WithEndpoint(t.URL+"/storage/v1/"), option.WithAuthCredentialsFile(option.ServiceAccount, t.KeyFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	w := client.Bucket(t.Bucket).Object(t.Key).NewWriter(ctx)
	w.ChunkSize = int(t.PartBytes)
	if _, err := io.Copy(w, t.body()); err != nil {
		return errors.Join(err, w.Close())
	}
	return w.Close()
}

// copyToFolder writes as a program does that must not lose what it wrote.
func copyToFolder(_ context.Context, t task) (err error) {
	path := filepath.Join(t.URL, t.Bucket, t.Key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, t.body(), make([]byte, blockSize))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

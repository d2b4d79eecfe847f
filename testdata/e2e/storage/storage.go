// Package storage gives a cluster an S3 server: versitygw on this machine where
// pods reach it, else versitygw as a Deployment in the cluster.
package storage

import (
	"crypto/rand"
	"fmt"
	"os"
)

// Server is a running S3 server with one empty bucket.
type Server struct {
	// Endpoint is the URL for pods.
	Endpoint string `json:"endpoint"`
	// HostEndpoint is the URL for this machine; empty where there is none.
	HostEndpoint string `json:"hostEndpoint,omitempty"`
	Bucket       string `json:"bucket"`
	// AccessKey and SecretKey are made up anew for each server.
	AccessKey string `json:"accessKey"`
	SecretKey string `json:"secretKey"`
}

// Region is what the servers answer to.
const Region = "us-east-1"

// newServer makes up the credentials.
func newServer(bucket string) Server {
	return Server{Bucket: bucket, AccessKey: "demo-" + rand.Text()[:8], SecretKey: rand.Text()}
}

// LocationConfig is the value of --backup-location-config.
func (s Server) LocationConfig() string {
	return fmt.Sprintf("region=%s,s3ForcePathStyle=true,s3Url=%s", Region, s.Endpoint)
}

// WriteCredentials writes the value of --secret-file, in the format of the AWS
// tools, readable for this user only.
func (s Server) WriteCredentials(file string) error {
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", s.AccessKey, s.SecretKey)
	return os.WriteFile(file, []byte(text), 0o600)
}

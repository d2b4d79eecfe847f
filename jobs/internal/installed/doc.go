// Package installed gives integration tests of jobs an installation on a real
// API server, with a bucket on a real S3 server, and what a Job of it works with:
// the service account's rights and no more.
package installed

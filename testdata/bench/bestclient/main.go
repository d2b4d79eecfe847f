// Command bestclient uploads one object with the client that the maker of a store
// offers for it: S3's transfer manager, Azure's UploadStream, Google's Writer, or
// for a folder a copy that is synced. It reads a task as JSON from stdin, and
// writes what it took to stdout. All of them get parts of the same size, and five at
// once where they can.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// concurrency is the transfer manager's default.
const concurrency = 5

// task is what to upload, and where.
type task struct {
	Provider string `json:"provider"`
	// URL is the server's endpoint, with Azure's account; for a folder its path.
	URL    string `json:"url"`
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	// User and Secret are the access key or the account, and its secret.
	User   string `json:"user,omitempty"`
	Secret string `json:"secret,omitempty"`
	// KeyFile is that of a service account.
	KeyFile string `json:"keyFile,omitempty"`
	// SizeBytes is that of the object, PartBytes of its parts.
	SizeBytes int64 `json:"sizeBytes"`
	PartBytes int64 `json:"partBytes"`
}

// result is what the upload took, without the start of the process.
type result struct {
	Seconds float64 `json:"seconds"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bestclient:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var t task
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	upload, ok := map[string]func(context.Context, task) error{
		"aws": uploadS3, "azure": uploadAzure, "gcp": uploadGCS, "filesystem": copyToFolder,
	}[t.Provider]
	if !ok {
		return fmt.Errorf("unknown provider %q", t.Provider)
	}
	begin := time.Now()
	if err := upload(ctx, t); err != nil {
		return fmt.Errorf("upload to %s: %w", t.URL, err)
	}
	return json.NewEncoder(os.Stdout).Encode(result{Seconds: time.Since(begin).Seconds()})
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newReadCommand(opts *run.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "read",
		Short: "Serve objects of a bucket to the plugin",
		Long: `Serve objects of a bucket on ` + read.Address + ` until the client is done, or
for two minutes without a request. No cluster is asked for anything; settings
come from the environment:

  VELERO_LOCATION     where the bucket is, JSON
  READ_PREFIXES       what may be read: key prefixes, comma-separated
  READ_TOKEN_SHA256   hexadecimal SHA-256 of the token that requests must carry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: opts.LogLevel}))
			summary, err := serve(cmd.Context(), *opts, log)
			return run.End(log, report.Ended(summary, err))
		},
	}
}

func serve(ctx context.Context, opts run.Options, log *slog.Logger) (report.Summary, error) {
	location := store.Location{CredentialsFile: opts.CredentialsFile}
	if err := json.Unmarshal([]byte(os.Getenv("VELERO_LOCATION")), &location); err != nil {
		return report.Summary{Outcome: report.Usage}, fmt.Errorf("read VELERO_LOCATION: %w", err)
	}
	bucket, err := store.Open(ctx, location)
	if err != nil {
		return report.Summary{Outcome: report.Failed}, err
	}
	return read.Run(ctx, read.Config{
		Bucket:      bucket,
		Prefixes:    strings.Split(os.Getenv("READ_PREFIXES"), ","),
		TokenSHA256: os.Getenv("READ_TOKEN_SHA256"),
		Log:         log,
	})
}

package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/preview"
	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newPreviewCommand(opts *run.Options) *cobra.Command {
	cfg := restore.Config{}
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Tell the plugin what a restore would do, and do none of it",
		Long: `Tell what a restore would do, once, on ` + read.Address + `, to whoever
has the token, and end; also when nobody asks for two minutes. It runs in a Job
only: the Job's annotation ` + velerov1.RestoreSpecAnnotation + ` has the Restore.

  READ_TOKEN_SHA256   hexadecimal SHA-256 of the token that requests must carry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "operation", "preview")
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env = env
			summary, err := preview.Run(ctx, preview.Config{
				Env: env, TokenSHA256: os.Getenv("READ_TOKEN_SHA256"),
				Make: func(ctx context.Context, r *velerov1.Restore, diff bool, emit func(report.PreviewItem) error, progress func(int)) report.PreviewEnd {
					return restore.Preview(ctx, cfg, r, diff, emit, progress)
				},
			})
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	cmd.Flags().IntVar(&cfg.Workers, "workers", 0, "objects tried at once; default 64")
	return cmd
}

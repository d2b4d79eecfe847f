package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/jobs/verify"
)

func newVerifyCommand(opts *run.Options) *cobra.Command {
	cfg := verify.Config{}
	cmd := &cobra.Command{
		Use:   "verify-volumes --backup BACKUP [--location LOCATION]",
		Short: "Look whether the snapshots of a backup's volumes still exist",
		Long: `Ask the CSI drivers and clouds that have the snapshots of a backup's volumes
whether they still have them, and print what they say. With a token, in a Job, the
results are told once, on ` + read.Address + `, to whoever has it; also when nobody
asks for two minutes, the Job ends.

  READ_TOKEN_SHA256   hexadecimal SHA-256 of the token that requests must carry
  STORAGE_TRUST       JSON that replaces what the storage location says of its
                      storage's certificate: caCert is PEM in base64, insecure a
                      bool`,
		Example: "  executor verify-volumes --backup nightly --kubeconfig ~/.kube/config --credentials-file ./credentials",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			trust, err := settings.DecodeTrust(os.Getenv("STORAGE_TRUST"))
			if err != nil {
				return err
			}
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "backup", opts.Namespace+"/"+cfg.Backup)
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env, cfg.TokenSHA256, cfg.Trust, cfg.Out = env, os.Getenv("READ_TOKEN_SHA256"), trust, cmd.OutOrStdout()
			summary, err := verify.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Backup, "backup", "", "name of the backup")
	flags.StringVar(&cfg.Location, "location", "", "storage location of a backup that has no Backup object")
	_ = cmd.MarkFlagRequired("backup") // fails only without such a flag
	return cmd
}

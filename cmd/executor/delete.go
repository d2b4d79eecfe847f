package main

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	deletejob "github.com/kubectl-velero/kubectl-velero/jobs/delete"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newDeleteCommand(opts *run.Options) *cobra.Command {
	cfg := deletejob.Config{}
	cmd := &cobra.Command{
		Use:   "delete --backup BACKUP [--location LOCATION] [--force]",
		Short: "Delete a backup's snapshots, its files, its Restores and the Backup",
		Example: `  executor delete --backup nightly
  executor delete --backup nightly --location default # what only the bucket still holds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "backup", opts.Namespace+"/"+cfg.Backup)
			if err != nil {
				return err
			}
			defer cancel()
			cfg.Env = env
			summary, err := deletejob.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Backup, "backup", "", "name of the backup")
	flags.StringVar(&cfg.Location, "location", "", "storage location of a backup that has no Backup object")
	flags.BoolVar(&cfg.Force, "force", false, "also delete what another cluster made, what a Velero server may be writing, and what has snapshots that can't be deleted, which stay behind")
	_ = cmd.MarkFlagRequired("backup") // fails only without such a flag
	return cmd
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
)

func newSyncCommand(opts *run.Options) *cobra.Command {
	cfg := sync.Config{}
	cmd := &cobra.Command{
		Use:   "sync [--location LOCATION]... [--force]",
		Short: "Show in the cluster which backups storage locations hold",
		Long: `Create a Backup object for every backup in the storage locations that the cluster
doesn't know, and remove those whose files are gone. Nothing in a bucket is
changed, and no backup that is being made or deleted.`,
		Example: `  executor sync
  executor sync --location default --force # also when most of its backups are gone`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "operation", "sync")
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env = env
			summary, err := sync.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&cfg.Locations, "location", nil, "storage location, may be repeated; default: all")
	flags.BoolVar(&cfg.Force, "force", false, "also remove Backup objects when all, or more than half, of a location's backups are gone")
	return cmd
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newMaintainCommand(opts *run.Options) *cobra.Command {
	cfg := maintain.Config{}
	cmd := &cobra.Command{
		Use:   "maintain [--location LOCATION]",
		Short: "Do the chores: end what ended without a word, remove what was left behind",
		Long: `Do the chores, each of which may be done at any time and as often as you like:
give Backups and Restores whose Job ended without a word their end, stop those
that can't start, remove the snapshots of backups that died, take away the rights
of restores and previews that have ended, and delete Jobs whose Backup or Restore
is gone. Objects of a Velero server are left alone. For every storage location:
look whether it can be reached, show the backups that are in it, remove the
leftovers of uploads that died, and delete the backups of this cluster whose time
is up. A location with credentials,
certificates or a volume of its own gets a Job of its own for that, and so does one
whose backups have disk snapshots that need other credentials.`,
		Example: `  executor maintain --kubeconfig ~/.kube/config
  executor maintain --location west # that location's chores only`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "operation", "maintain")
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env = env
			summary, err := maintain.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	cmd.Flags().StringVar(&cfg.Location, "location", "", "only the chores of this storage location, and of the backups in it")
	cmd.Flags().DurationVar(&cfg.StartTimeout, "start-timeout", maintain.DefaultStartTimeout, "how long a Backup or Restore may wait for its Job to start before it counts as failed; 0 means for ever")
	return cmd
}

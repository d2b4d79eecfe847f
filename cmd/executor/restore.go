package main

import (
	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newRestoreCommand(opts *run.Options) *cobra.Command {
	cfg := restore.Config{}
	cmd := &cobra.Command{
		Use:     "restore --name RESTORE",
		Short:   "Carry out a Restore",
		Example: "  executor restore --name shop-20260102030405 --kubeconfig ~/.kube/config --credentials-file ./credentials",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "restore", opts.Namespace+"/"+cfg.Name)
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env = env
			summary, err := restore.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Name, "name", "", "name of the Restore")
	flags.IntVar(&cfg.Workers, "workers", 0, "objects written at once; default 64")
	flags.DurationVar(&cfg.RetryFor, "retry-for", 0, "how long objects that failed for a reason that may pass are tried again after the last success; default 60s")
	flags.DurationVar(&cfg.TerminatingTimeout, "terminating-resource-timeout", 0, "how long to wait for a terminating namespace; default 10m")
	flags.DurationVar(&cfg.ResourceTimeout, "resource-timeout", 0, "how long to wait for a new kind to be served; default 1m")
	flags.DurationVar(&cfg.ProvisionTimeout, "provision-timeout", 0, "how long claims may take to get the volumes that are made from snapshots; default 10m")
	if err := cmd.MarkFlagRequired("name"); err != nil {
		return cmd
	}
	return cmd
}

package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newBackupCommand(opts *run.Options) *cobra.Command {
	var name, schedule string
	cmd := &cobra.Command{
		Use:     "backup (--name BACKUP | --schedule SCHEDULE)",
		Short:   "Carry out a Backup, or the turn of a Schedule",
		Example: "  executor backup --name nightly --kubeconfig ~/.kube/config --credentials-file ./credentials",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("--name", name, "--schedule", schedule); err != nil {
				return err
			}
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "backup", opts.Namespace+"/"+cmp.Or(name, schedule))
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			summary, err := backup.Run(ctx, backup.Config{Env: env, Name: name, Schedule: schedule})
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the Backup")
	cmd.Flags().StringVar(&schedule, "schedule", "", "name of the Schedule whose turn has come")
	return cmd
}

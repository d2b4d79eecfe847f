package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/check"
	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func newCheckCommand(opts *run.Options) *cobra.Command {
	cfg := check.Config{}
	size := resource.QuantityValue{Quantity: *resource.NewQuantity(check.DefaultSize, resource.BinarySI)}
	cmd := &cobra.Command{
		Use:   "check --location LOCATION",
		Short: "Try out a storage location",
		Long: `Try out a storage location, with probes that are removed again, and print what
works. With a token, in a Job, the results are told once, on ` + read.Address + `,
to whoever has it; also when nobody asks for two minutes, the Job ends.

  READ_TOKEN_SHA256   hexadecimal SHA-256 of the token that requests must carry`,
		Example: "  executor check --location default --kubeconfig ~/.kube/config --credentials-file ./credentials",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if size.Sign() < 0 {
				return fmt.Errorf("--size %s: a size is not negative", &size)
			}
			ctx, cancel, env, err := run.Start(cmd.Context(), *opts, "storageLocation", opts.Namespace+"/"+cfg.Location)
			if err != nil {
				return err
			}
			defer cancel()
			run.KeepMemoryLow(ctx)
			cfg.Env, cfg.Size, cfg.TokenSHA256, cfg.Out = env, size.Value(), os.Getenv("READ_TOKEN_SHA256"), cmd.OutOrStdout()
			summary, err := check.Run(ctx, cfg)
			return run.End(env.Log, report.Ended(summary, err))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Location, "location", "", "name of the storage location")
	flags.Var(&size, "size", "how much is uploaded and downloaded to measure, such as 64Mi; 0 leaves that out")
	_ = cmd.MarkFlagRequired("location") // fails only without such a flag
	return cmd
}

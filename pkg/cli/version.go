package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/version"
)

func newVersionCommand(f *Factory) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program and of the executor image",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runVersion(cmd.Context(), f, clientOnly)
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client-only", false, "Show only the version of this program; don't ask the cluster.")
	return cmd
}

func runVersion(ctx context.Context, f *Factory, clientOnly bool) error {
	b := version.Get()
	fmt.Fprintf(f.Out, "Client:\n\tVersion: %s\n", b.Version)
	if b.Commit != "" {
		fmt.Fprintf(f.Out, "\tGit commit: %s\n", b.Commit)
	}
	if clientOnly {
		return nil
	}
	s, err := f.connect()
	if err != nil {
		return err
	}
	template, err := s.template(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "Executor:\n\tImage: %s\n", launch.Image(template))
	return nil
}

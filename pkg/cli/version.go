package cli

import (
	"context"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// build is what the binary knows about where it comes from.
type build struct {
	version string // module version or "dev"
	commit  string // empty when it wasn't recorded
}

func buildVersion() build {
	b := build{version: "dev"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = v
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			modified = s.Value
		}
	}
	if revision != "" && modified == "true" {
		revision += "-dirty"
	}
	b.commit = revision
	return b
}

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
	b := buildVersion()
	fmt.Fprintf(f.Out, "Client:\n\tVersion: %s\n", b.version)
	if b.commit != "" {
		fmt.Fprintf(f.Out, "\tGit commit: %s\n", b.commit)
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

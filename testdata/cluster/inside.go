package main

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/machine"
)

func newLoadImageCommand() *cobra.Command {
	var name string
	var also []string
	cmd := &cobra.Command{
		Use:   "load-image FILE.tar",
		Short: "Put the image of an archive (docker save, OCI layout) into a cluster",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			return m.LoadImage(cmd.Context(), name, args[0], also)
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().StringArrayVar(&also, "as", nil, "another reference for the image; may be repeated")
	return cmd
}

func newKubectlCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:     "kubectl -- ARGUMENTS",
		Aliases: []string{"exec-kubectl"},
		Short:   "Run kubectl on a cluster",
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			kubeconfig, err := m.Kubeconfig(name)
			if err != nil {
				return err
			}
			if err := os.Setenv("KUBECONFIG", kubeconfig); err != nil {
				return fmt.Errorf("run kubectl: %w", err)
			}
			return become(append([]string{m.State.Bin("kubectl")}, args...))
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

func newExecCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "exec -- COMMAND",
		Short: "Run a program on a full cluster's node: in its network, with its mounts",
		Long: `Run a program on a full cluster's node: in its network, with its mounts, in the
working directory /. The process id stays that of this command; the program ends
with the cluster at the latest.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			enter, err := m.Enter(name)
			if err != nil {
				return err
			}
			return become(append(enter, args...))
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

// newHoldCommand is how the program is run again to hold namespaces.
func newHoldCommand() *cobra.Command {
	return &cobra.Command{
		Use:    machine.HoldCommand + " FOLDER READY",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := machine.Hold(args[0], args[1]); err != nil {
				return err
			}
			<-cmd.Context().Done()
			return nil
		},
	}
}

// become replaces this process by another program.
func become(line []string) error {
	path, err := exec.LookPath(line[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("run %s: %w", line[0], unix.Exec(path, line, os.Environ()))
}

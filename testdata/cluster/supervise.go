package main

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/cluster"
)

// superviseAfter is how long a program that has ended is left alone.
const superviseAfter = 500 * time.Millisecond

// newSuperviseCommand is how the program is run again to keep another one running.
func newSuperviseCommand() *cobra.Command {
	return &cobra.Command{
		Use:    cluster.SuperviseCommand + " -- COMMAND",
		Hidden: true,
		Args:   cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// The kernel ends the program with the thread that has started it.
			runtime.LockOSThread()
			for cmd.Context().Err() == nil {
				err := supervise(cmd.Context(), args, cmd)
				fmt.Fprintf(cmd.ErrOrStderr(), "%s ended: %v\n", args[0], err)
				select {
				case <-cmd.Context().Done():
				case <-time.After(superviseAfter):
				}
			}
			return nil
		},
	}
}

// supervise runs the program once. It doesn't outlive this one.
func supervise(ctx context.Context, line []string, cmd *cobra.Command) error {
	program := exec.CommandContext(ctx, line[0], line[1:]...)
	program.Stdout, program.Stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
	program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return program.Run()
}

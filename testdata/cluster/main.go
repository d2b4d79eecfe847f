// Command cluster runs Kubernetes clusters for tests and the demo: real ones,
// made of Go modules, on a machine without a container engine or registry, and
// without changing that machine.
//
//	go run -C testdata/cluster . up     # builds what is missing first
//	.testbed/bin/cluster status         # the same program, as `build` left it
//
// A cluster has a name and one of two modes:
//
//   - api: etcd and kube-apiserver on free loopback ports. Needs no rights; any
//     number stand side by side. No controllers run, so namespaces have no
//     "default" ServiceAccount (create it before creating pods), nothing is
//     garbage-collected, and namespaces stay Terminating.
//   - full: a node beside them: containerd, kubelet, kube-proxy (nftables),
//     controllers, scheduler and CoreDNS. Needs root. It lives in network and
//     mount namespaces of its own; servers on the machine that pods are to reach
//     listen on the status's hostAddress (a firewall must let them be reached);
//     `cluster exec` runs a program on the node. Pods reach the machine and each
//     other, not the Internet. With --csi it has a CSI driver whose volumes are
//     folders, the snapshot API with its controllers, and classes for both; with
//     --csi-data it sees the volumes and snapshots of another cluster.
//
// Everything is kept in the state folder, <repository>/.testbed or
// $TESTBED_STATE: bin (also kubectl, and etcd and kube-apiserver as envtest
// wants them), images, debs, clusters/<name> with its kubeconfig and logs. What
// a full cluster has outside of it (processes, namespaces, a network interface,
// control groups, kernel settings) is gone or put back after `cluster down`;
// `cluster verify-clean` looks.
//
// Clients are told apart by certificates; TLS is verified everywhere; RBAC, Node
// authorizer, NodeRestriction and Pod Security are on.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/cluster"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(exitCode(err))
	}
}

// exitCode passes on that of a program that was run.
func exitCode(err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return 1
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "Run Kubernetes clusters for tests",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		newBuildCommand(), newUpCommand(), newDownCommand(), newStatusCommand(), newKubeconfigCommand(),
		newLoadImageCommand(), newKubectlCommand(), newExecCommand(), newVerifyCleanCommand(), newHoldCommand(),
		newSuperviseCommand(),
	)
	return root
}

// newManager returns a manager that reports progress to the command's stderr.
func newManager(cmd *cobra.Command) (cluster.Manager, error) {
	folder, err := state.Locate()
	if err != nil {
		return cluster.Manager{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return cluster.Manager{}, fmt.Errorf("find this program: %w", err)
	}
	return cluster.Manager{State: folder, Progress: cmd.ErrOrStderr(), Self: self}, nil
}

// nameFlag adds the flag that says which cluster is meant.
func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", "default", "the cluster's name")
}

func modeFlag(cmd *cobra.Command, mode *string) {
	cmd.Flags().StringVar(mode, "mode", string(cluster.ModeFull), "how much of a cluster: full, or api for etcd and API server alone")
}

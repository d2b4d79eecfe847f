// Command kubectl-velero backs up and restores a Kubernetes cluster. It is a
// kubectl plugin: on the PATH, it is called as "kubectl velero".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	// Clusters that ask for cloud or OIDC logins name one of these in the kubeconfig.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Once told to stop, the next ctrl-C ends the program at once.
	context.AfterFunc(ctx, stop)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := cli.NewCommand(streams).ExecuteContext(ctx)
	cli.PrintError(os.Stderr, err)
	return cli.ExitCode(err)
}

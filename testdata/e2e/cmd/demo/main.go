// Command demo shows kubectl-velero do its main job on a real cluster: a backup,
// a disaster, a restore. See package demo.
//
//	demo [--name NAME] [up|clean]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/demo"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "\nerror:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	name := flags.String("name", "default", "name of the cluster to make or to use again")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tree, err := workspace.Find()
	if err != nil {
		return err
	}
	options := demo.Options{Tree: tree, Provider: provider.FromEnv(tree), Out: os.Stdout}
	options.Provider.Name = *name
	if term.IsTerminal(int(os.Stdin.Fd())) {
		options.Provider.In = os.Stdin
	}
	switch flags.Arg(0) {
	case "", "up":
		return demo.Run(ctx, options)
	case "clean":
		return demo.Clean(ctx, options)
	}
	return errors.New("usage: demo [--name NAME] [up|clean]")
}

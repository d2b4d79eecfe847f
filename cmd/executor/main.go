// Command executor is what a Job's pod runs: one operation, then the end.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "time/tzdata" // the image has no zone files

	_ "golang.org/x/crypto/x509roots/fallback" // nor CA roots

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := newCommand().ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "executor:", err)
	}
	os.Exit(run.ExitCode(err))
}

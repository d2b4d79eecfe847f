// Command testreport runs tests and checks, layer by layer, keeps what came of
// each, and closes with one line of counts per layer. With CI=true a skipped
// test is a failure, but for the written exemptions.
//
//	testreport reset [LAYER...]
//	testreport test  LAYER COMMAND...       a command that prints `go test -json`
//	testreport check LAYER NAME COMMAND...  a command that counts as one test
//	testreport close [LAYER...]             counts; fails if anything failed
//
// A check that exits with 3 counts as skipped. Results are kept in the test-bed's
// state folder, below report/.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

const usage = "usage: testreport reset [LAYER...] | test LAYER COMMAND... | check LAYER NAME COMMAND... | close [LAYER...]"

// errFailed ends the program with status 1 and no text: what failed was printed.
var errFailed = errors.New("tests failed")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, errFailed) {
		fmt.Fprintln(os.Stderr, "testreport:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	tree, err := workspace.Find()
	if err != nil {
		return err
	}
	kept := ledger{dir: filepath.Join(tree.State, "report"), strict: os.Getenv("CI") == "true"}
	switch {
	case len(args) >= 1 && args[0] == "reset":
		return kept.reset(args[1:])
	case len(args) >= 3 && args[0] == "test":
		counts, err := runTests(ctx, args[2:], out)
		if err != nil {
			return err
		}
		return kept.add(args[1], counts, out)
	case len(args) >= 4 && args[0] == "check":
		counts, err := runCheck(ctx, args[2], args[3:], out)
		if err != nil {
			return err
		}
		return kept.add(args[1], counts, out)
	case len(args) >= 1 && args[0] == "close":
		return kept.close(args[1:], out)
	}
	return errors.New(usage)
}

// Command app is what the containers of the sample application run: one small
// static program that stays up, says hello and ends, or reads and writes a file,
// so that a cluster without an image registry has something real to run.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = "usage: app [stay | hello | cat FILE | write FILE TEXT | mkdir DIR]"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run carries out one command; no command means "stay".
func run(ctx context.Context, args []string, out io.Writer) error {
	command := "stay"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "stay" && len(args) == 0:
		<-ctx.Done()
		return nil
	case command == "hello" && len(args) == 0:
		_, err := fmt.Fprintln(out, "hello")
		return err
	case command == "cat" && len(args) == 1:
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	case command == "write" && len(args) == 2:
		return os.WriteFile(args[0], []byte(args[1]+"\n"), 0o644)
	case command == "mkdir" && len(args) == 1:
		return os.MkdirAll(args[0], 0o755)
	}
	return fmt.Errorf("unknown command %q\n%s", command, usage)
}

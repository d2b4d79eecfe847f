package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// profileCommand is what the executor does, with profiles. A process of its own
// keeps the bench out of them, and the executor has no switch for it.
const profileCommand = "profile"

// profiled makes one more backup, with profiles.
func (b *bed) profiled(ctx context.Context, e *expectation) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(filepath.Join(b.profile, b.set.name()))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	backup := b.newBackup("profile")
	if err := b.create(ctx, backup); err != nil {
		return err
	}
	if _, err := b.run(ctx, nil, self, profileCommand, folder, backup.Name, b.kubeconfig, b.s3.CredentialsFile); err != nil {
		return err
	}
	progress("profiles are in %s", folder)
	_, err = b.verify(ctx, backup.Name, e)
	return err
}

// runProfile takes a folder, the name of a Backup, a kubeconfig and a file of
// credentials.
func runProfile(ctx context.Context, args []string) (err error) {
	const count = 4
	if len(args) != count {
		return fmt.Errorf("%d arguments, not %d", len(args), count)
	}
	folder, name := args[0], args[1]
	runtime.MemProfileRate = 64 << 10 // before anything is allocated that matters
	ctx, cancel, env, err := run.Start(ctx, run.Options{
		Namespace: velerov1.DefaultNamespace, Kubeconfig: args[2], CredentialsFile: args[3],
	}, "backup", name)
	if err != nil {
		return err
	}
	defer cancel()
	stop, err := startCPUProfile(filepath.Join(folder, "cpu.pprof"))
	if err != nil {
		return err
	}
	summary, err := backup.Run(ctx, backup.Config{Env: env, Name: name})
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if summary.Outcome != report.Completed {
		return fmt.Errorf("the backup is %s: %s", summary.Outcome, summary.Reason)
	}
	return writeFile(filepath.Join(folder, "heap.pprof"), func(w io.Writer) error {
		return pprof.Lookup("allocs").WriteTo(w, 0)
	})
}

func startCPUProfile(path string) (stop func() error, err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

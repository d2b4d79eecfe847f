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
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// profileCommand is what the executor does, with profiles. A process of its own
// keeps the bench out of them, and the executor has no switch for it.
const profileCommand = "profile"

// profileTask is what a profile is taken of.
type profileTask struct {
	// operation is backup or restore, name that of its object.
	operation, name string
	kubeconfig      string
	// folder is below that of the data set; empty is itself.
	folder string
}

// profiled makes one more backup, with profiles.
func (b *bed) profiled(ctx context.Context, e *expectation) error {
	backup := b.newBackup("profile")
	if err := b.create(ctx, backup); err != nil {
		return err
	}
	if err := b.runProfiled(ctx, profileTask{operation: onlyBackup, name: backup.Name, kubeconfig: b.kubeconfig}); err != nil {
		return err
	}
	_, err := b.verify(ctx, backup.Name, e)
	return err
}

func (b *bed) runProfiled(ctx context.Context, task profileTask) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(filepath.Join(b.profile, b.set.name(), task.folder))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	time.Sleep(settle)
	_, err = b.run(ctx, nil, self, profileCommand, folder, task.operation, task.name, task.kubeconfig, b.s3.CredentialsFile)
	if err == nil {
		progress("profiles are in %s", folder)
	}
	return err
}

// profileRestores restores into nothing and over everything, with profiles.
func (b *restoreBench) profileRestores(ctx context.Context) error {
	e := expected{archived: b.mix}
	for _, folder := range []string{"into-nothing", "all-there"} {
		restore := newRestore("profile", b.mix.backup)
		if err := b.createRestore(ctx, restore); err != nil {
			return err
		}
		task := profileTask{operation: onlyRestore, name: restore.Name, kubeconfig: b.account, folder: folder}
		if err := b.runProfiled(ctx, task); err != nil {
			return err
		}
		if e.creator == "" {
			e.creator = restore.Name
		}
		if err := b.verify(ctx, restore.Name, e); err != nil {
			return err
		}
		e.found = len(b.mix.sums)
	}
	return b.wipe(ctx)
}

// runProfile takes a folder, what to do, the name of its object, a kubeconfig
// and a file of credentials.
func runProfile(ctx context.Context, args []string) (err error) {
	const count = 5
	if len(args) != count {
		return fmt.Errorf("%d arguments, not %d", len(args), count)
	}
	folder, operation, name := args[0], args[1], args[2]
	runtime.MemProfileRate = 64 << 10 // before anything is allocated that matters
	ctx, cancel, env, err := run.Start(ctx, run.Options{
		Namespace: velerov1.DefaultNamespace, Kubeconfig: args[3], CredentialsFile: args[4],
	}, operation, name)
	if err != nil {
		return err
	}
	defer cancel()
	stop, err := startCPUProfile(filepath.Join(folder, "cpu.pprof"))
	if err != nil {
		return err
	}
	summary, err := operate(ctx, env, operation, name)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if summary.Outcome != report.Completed {
		return fmt.Errorf("the %s is %s: %s", operation, summary.Outcome, summary.Reason)
	}
	return writeFile(filepath.Join(folder, "heap.pprof"), func(w io.Writer) error {
		return pprof.Lookup("allocs").WriteTo(w, 0)
	})
}

// operate does what the executor's command does.
func operate(ctx context.Context, env *run.Env, operation, name string) (report.Summary, error) {
	run.KeepMemoryLow(ctx)
	if operation == onlyRestore {
		return restore.Run(ctx, restore.Config{Env: env, Name: name})
	}
	return backup.Run(ctx, backup.Config{Env: env, Name: name})
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

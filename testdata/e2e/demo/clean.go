package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/storage"
)

// Clean ends all that Run started: the cluster if it was made here, else what
// was put into it; the S3 server; the demo's files. What was built stays. It
// goes on after an error, and returns all of them.
func Clean(ctx context.Context, o Options) error {
	kept, err := readRecord(o.folder())
	if errors.Is(err, os.ErrNotExist) {
		// One that was interrupted early may have come as far as a local cluster.
		if _, err := os.Stat(filepath.Join(o.Tree.State, "clusters", o.Provider.Name)); err != nil {
			fmt.Fprintln(o.Out, "There is no demo to clean up.")
			return nil
		}
		kept, err = record{Kind: provider.Local}, nil
	}
	var errs []error
	switch {
	case err != nil:
		errs = append(errs, err)
	case kept.Kind == provider.Foreign:
		errs = append(errs, cleanForeign(ctx, o, kept))
	default:
		errs = append(errs, takeDown(ctx, o, kept))
	}
	fmt.Fprintln(o.Out, "Stopping the S3 server.")
	errs = append(errs, (&demo{Options: o}).host().Stop())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up the demo: %w\nhint: `make demo-clean` can be run again", err)
	}
	return os.RemoveAll(o.folder())
}

func takeDown(ctx context.Context, o Options, kept record) error {
	options := o.Provider
	options.Tree, options.Out = o.Tree, o.Out
	cluster, err := provider.Made(ctx, kept.Kind, options)
	if err != nil {
		return err
	}
	return cluster.Down(ctx)
}

// deleteBackup deletes the demo's backup, whose snapshots would stay in the storage
// of a cluster that stays. One that can't be deleted any more is told, and no error:
// it couldn't be the next time either.
func deleteBackup(ctx context.Context, c *console.Console) error {
	quiet := *c
	quiet.Quiet = true
	backup, err := quiet.Try(ctx, "kubectl", "-n", "velero", "get", "backups.velero.io", backupName, "-o", "name", "--ignore-not-found")
	if err != nil || backup.Stdout == "" {
		return err // no CRD is no backup
	}
	result, err := c.Try(ctx, "kubectl", "velero", "backup", "delete", backupName, "--confirm")
	if err == nil && result.Code != 0 {
		c.Say("The backup can't be deleted: a snapshot may be left in the cluster's storage.")
	}
	return err
}

// cleanForeign removes from a cluster what the demo put there.
func cleanForeign(ctx context.Context, o Options, kept record) error {
	fmt.Fprintf(o.Out, "Removing the demo from %s.\n", kept.Name)
	c := &console.Console{Dir: o.Tree.Root, Env: o.Tree.Env(kept.Kubeconfig), Out: o.Out}
	return errors.Join(
		deleteBackup(ctx, c),
		shop.DeleteAll(ctx, c),
		c.Run(ctx, "kubectl", "velero", "uninstall", "--force", "--wait"),
		storage.StopInCluster(ctx, c),
	)
}

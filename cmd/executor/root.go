package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// newCommand returns the root command: one subcommand per operation.
func newCommand() *cobra.Command {
	opts := &run.Options{}
	cmd := &cobra.Command{
		Use:   "executor",
		Short: "Run one backup, restore or chore of kubectl-velero",
		Long: `Run one operation and exit. Jobs run it in the cluster; with a kubeconfig it
also runs outside, for development.

Exit codes: 0 completed, 10 refused, 11 partially failed, 12 failed,
13 cancelled or timed out, 75 failed for a reason that may pass.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&opts.Namespace, "namespace", "n", cmp.Or(os.Getenv("VELERO_NAMESPACE"), velerov1.DefaultNamespace), "namespace of the velero.io objects")
	flags.StringVar(&opts.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; default: KUBECONFIG, ~/.kube/config, then the pod's service account")
	flags.StringVar(&opts.Context, "context", "", "context of the kubeconfig; default: its current one")
	flags.StringVar(&opts.CredentialsFile, "credentials-file", run.DefaultCredentialsFile, "credentials of the storage location; a missing file means the cloud SDK's default chain")
	flags.StringVar(&opts.CustomerKeyFile, "customer-key-file", run.DefaultCustomerKeyFile, "the key that the location's customerKeyEncryptionSecret stands for")
	flags.StringVar(&opts.StorageDir, "storage-dir", run.DefaultStorageDir, "the folder that holds the buckets of locations of provider filesystem")
	flags.TextVar(&opts.LogLevel, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn or error")
	cmd.AddCommand(newBackupCommand(opts), newRestoreCommand(opts), newPreviewCommand(opts), newDeleteCommand(opts), newMaintainCommand(opts), newReadCommand(opts), newCheckCommand(opts), newSyncCommand(opts), newVerifyCommand(opts))
	return cmd
}

// oneOf refuses flags that exclude each other, and none of them.
func oneOf(a, aValue, b, bValue string) error {
	if (aValue == "") == (bValue == "") {
		return fmt.Errorf("give exactly one of %s and %s", a, b)
	}
	return nil
}

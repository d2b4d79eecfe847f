package cli

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
)

// NewCommand returns the root command, which reads and writes streams. Its
// errors are for PrintError and ExitCode; it prints none itself.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	// client-go logs through klog; what a user needs to know comes as an error.
	// Without a logger of its own it would still write errors to stderr.
	klog.SetLogger(klog.Logger{})
	f := newFactory(streams, os.Args[0])
	root := newRoot(f)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	return root
}

func newRoot(f *Factory) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-velero",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: f.name},
		Short:         "Back up and restore a Kubernetes cluster with short-lived Jobs",
		Long:          "Back up and restore a Kubernetes cluster. Each operation is one short-lived Job; nothing runs in between.",
		Example:       f.examples(rootExamples),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	f.addFlags(root.PersistentFlags())
	root.AddCommand(
		newInstallCommand(f), newUninstallCommand(f),
		newBackupCommand(f), newRestoreCommand(f), newScheduleCommand(f),
		newBackupLocationCommand(f), newSnapshotLocationCommand(f),
		newVerbCommand(f, "create", "Create backups, restores, schedules and locations",
			newBackupCreate(f, "backup"), newRestoreCreate(f, "restore"), newScheduleCreate(f, "schedule"),
			alias(newBackupLocationCreate(f, "backup-location"), "backup-locations", "bsl"),
			alias(newSnapshotLocationCreate(f, "snapshot-location"), "snapshot-locations", "vsl")),
		newVerbCommand(f, "get", "List backups, restores, schedules and locations",
			alias(newBackupGet(f, "backups"), "backup"), alias(newRestoreGet(f, "restores"), "restore"), alias(newScheduleGet(f, "schedules"), "schedule"),
			alias(newBackupLocationGet(f, "backup-locations"), "backup-location", "bsl"),
			alias(newSnapshotLocationGet(f, "snapshot-locations"), "snapshot-location", "vsl")),
		newVerbCommand(f, "describe", "Describe backups and restores",
			alias(newBackupDescribe(f, "backups"), "backup"), alias(newRestoreDescribe(f, "restores"), "restore")),
		newVerbCommand(f, "delete", "Delete backups and storage locations",
			alias(newBackupDelete(f, "backup"), "backups"),
			alias(newBackupLocationDelete(f, "backup-location"), "backup-locations", "bsl")),
		newClientCommand(f),
		newVersionCommand(f),
		newOptionsCommand(),
	)
	root.SetUsageTemplate(usageTemplate(f.name))
	return root
}

const rootExamples = `  # Back up the namespace shop and wait for the end
  %[1]s backup create shop --include-namespaces shop --wait

  # Bring it back
  %[1]s restore create --from-backup shop --wait

  # Every night at one
  %[1]s schedule create nightly --schedule "0 1 * * *"`

// newVerbCommand is a verb that takes the noun as its first word, the other
// way round from "backup create".
func newVerbCommand(f *Factory, verb, short string, nouns ...*cobra.Command) *cobra.Command {
	return group(f, &cobra.Command{Use: verb, Short: short}, nouns...)
}

func alias(cmd *cobra.Command, names ...string) *cobra.Command {
	cmd.Aliases = names
	return cmd
}

// newOptionsCommand shows the global flags, as `kubectl options` does.
func newOptionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "options",
		Short: "List the flags that every command takes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Usage() },
	}
	cmd.SetUsageTemplate("Every command takes these flags:\n\n{{.InheritedFlags.FlagUsages}}")
	return cmd
}

package cli

import "github.com/spf13/cobra"

func newBackupCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "backup", Short: "Work with backups"},
		newBackupCreate(f, "create"), newBackupGet(f, "get"), newBackupDescribe(f, "describe"),
		newBackupLogs(f, "logs"), newBackupDelete(f, "delete"),
		newBackupContents(f, "contents"), newBackupCat(f, "cat"), newBackupDownload(f, "download"),
		newBackupDiff(f, "diff"), newBackupVerify(f, "verify"))
}

func newRestoreCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "restore", Short: "Work with restores"},
		newRestoreCreate(f, "create"), newRestoreGet(f, "get"), newRestoreDescribe(f, "describe"), newRestoreLogs(f, "logs"), newRestoreDiff(f, "diff"))
}

func newScheduleCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "schedule", Short: "Work with schedules"},
		newScheduleCreate(f, "create"), newScheduleGet(f, "get"))
}

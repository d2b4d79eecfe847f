package cli

import "github.com/spf13/cobra"

func newBackupCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "backup", Short: "Work with backups"},
		newBackupCreate(f, "create"), newBackupGet(f, "get"), newBackupDescribe(f, "describe"),
		newBackupLogs(f, "logs"), newBackupDelete(f, "delete"),
		newBackupContents(f, "contents"), newBackupCat(f, "cat"), newBackupDownload(f, "download"),
		newBackupDiff(f, "diff"), newBackupVerify(f, "verify"))
}

func newBackupLocationCommand(f *Factory) *cobra.Command {
	return alias(group(f, &cobra.Command{Use: "backup-location", Short: "Work with the storage locations of backups"},
		newBackupLocationCreate(f, "create"), newBackupLocationGet(f, "get"), newBackupLocationSet(f, "set"), newBackupLocationDelete(f, "delete"),
		newBackupLocationCheck(f, "check"), newBackupLocationSync(f, "sync"), newBackupLocationAdopt(f, "adopt")), "backup-locations", "bsl")
}

func newSnapshotLocationCommand(f *Factory) *cobra.Command {
	return alias(group(f, &cobra.Command{Use: "snapshot-location", Short: "Work with the locations of volume snapshots"},
		newSnapshotLocationCreate(f, "create"), newSnapshotLocationGet(f, "get"), newSnapshotLocationSet(f, "set")), "snapshot-locations", "vsl")
}

func newRestoreCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "restore", Short: "Work with restores"},
		newRestoreCreate(f, "create"), newRestoreGet(f, "get"), newRestoreDescribe(f, "describe"), newRestoreLogs(f, "logs"), newRestoreDiff(f, "diff"))
}

func newScheduleCommand(f *Factory) *cobra.Command {
	return group(f, &cobra.Command{Use: "schedule", Short: "Work with schedules"},
		newScheduleCreate(f, "create"), newScheduleGet(f, "get"))
}

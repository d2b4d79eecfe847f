package catalog

import "fmt"

const markerFile = "velero-backup.json"

func backupFolder(backup string) string { return "backups/" + backup + "/" }

func restoreFolder(restore string) string { return "restores/" + restore + "/" }

func markerKey(backup string) string { return backupFolder(backup) + markerFile }

func archiveKey(backup string) string { return backupFolder(backup) + backup + ".tar.gz" }

func checksumsKey(backup string) string { return backupFolder(backup) + backup + "-checksums.json" }

func claimKey(backup string) string { return backupFolder(backup) + backup + "-claim.json" }

// File names one side file. Every side file is gzipped.
type File struct {
	key string
	err error // a name that can't be one
}

// Key is the file's key in the bucket.
func (f File) Key() string { return f.key }

// BackupFileKind is what a side file of a backup holds.
type BackupFileKind string

// The side files of a backup.
const (
	Logs             BackupFileKind = "logs.gz"
	PodVolumeBackups BackupFileKind = "podvolumebackups.json.gz"
	VolumeSnapshots  BackupFileKind = "volumesnapshots.json.gz"
	ResourceList     BackupFileKind = "resource-list.json.gz"
	Results          BackupFileKind = "results.gz"
	ItemOperations   BackupFileKind = "itemoperations.json.gz"
	VolumeInfo       BackupFileKind = "volumeinfo.json.gz"
	// CSISnapshotContents is what Velero up to 1.16 wrote: the
	// VolumeSnapshotContents of the backup's snapshots.
	CSISnapshotContents BackupFileKind = "csi-volumesnapshotcontents.json.gz"
	// Index and Coverage are beside Velero's: where in the archive what is, and
	// what became of each kind.
	Index    BackupFileKind = "index.json.gz"
	Coverage BackupFileKind = "coverage.json.gz"
)

// BackupFile names a side file of a backup.
func BackupFile(backup string, kind BackupFileKind) File {
	return File{key: backupFolder(backup) + backup + "-" + string(kind), err: checkName("backup", backup)}
}

// RestoreFileKind is what a file of a restore holds.
type RestoreFileKind string

// The files of a restore.
const (
	RestoreLogs           RestoreFileKind = "logs.gz"
	RestoreResults        RestoreFileKind = "results.gz"
	RestoreResourceList   RestoreFileKind = "resource-list.json.gz"
	RestoreItemOperations RestoreFileKind = "itemoperations.json.gz"
	RestoreVolumeInfo     RestoreFileKind = "volumeinfo.json.gz"
)

// RestoreFile names a file of a restore. All but the volume info have "restore-"
// before the restore's name.
func RestoreFile(restore string, kind RestoreFileKind) File {
	prefix := "restore-"
	if kind == RestoreVolumeInfo {
		prefix = ""
	}
	return File{
		key: fmt.Sprintf("%s%s%s-%s", restoreFolder(restore), prefix, restore, kind),
		err: checkName("restore", restore),
	}
}

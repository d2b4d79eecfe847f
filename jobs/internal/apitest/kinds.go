package apitest

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// kinds are the resources that the server has.
var kinds = map[string]string{
	"backups":                "Backup",
	"restores":               "Restore",
	"backupstoragelocations": "BackupStorageLocation",
	"jobs":                   "Job",
	"cronjobs":               "CronJob",
	"pods":                   "Pod",
	"nodes":                  "Node",
	"events":                 "Event",
	"namespaces":             "Namespace",
	"clusterrolebindings":    "ClusterRoleBinding",
	"podvolumebackups":       "PodVolumeBackup",
	"podtemplates":           "PodTemplate",
	"secrets":                "Secret",
	"persistentvolumeclaims": "PersistentVolumeClaim",

	"volumesnapshotlocations": "VolumeSnapshotLocation",
	"csidrivers":              "CSIDriver",
	"volumesnapshotclasses":   "VolumeSnapshotClass",
}

func kindOf(resource string) string { return kinds[resource] }

func apiVersion(urlPath string) string {
	parts := strings.Split(strings.TrimPrefix(urlPath, "/"), "/")
	if parts[0] == "apis" {
		return parts[1] + "/" + parts[2]
	}
	return parts[1]
}

var reasons = map[int]metav1.StatusReason{
	http.StatusNotFound:            metav1.StatusReasonNotFound,
	http.StatusConflict:            metav1.StatusReasonConflict,
	http.StatusForbidden:           metav1.StatusReasonForbidden,
	http.StatusUnprocessableEntity: metav1.StatusReasonInvalid,
	http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
	http.StatusInternalServerError: metav1.StatusReasonInternalError,
}

func failure(status int, method, urlPath string) metav1.Status {
	reason := reasons[status]
	if status == http.StatusConflict && method == http.MethodPost {
		reason = metav1.StatusReasonAlreadyExists
	}
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(status), Reason: reason,
		Message: urlPath + ": " + http.StatusText(status),
	}
}

package report

import "time"

// CheckStatus is what came of one check of a storage location.
type CheckStatus string

// What can come of a check.
const (
	CheckOK CheckStatus = "ok"
	// CheckWarning means that backups work, and that something is not as it should be.
	CheckWarning CheckStatus = "warning"
	// CheckFailed means that backups, or a part of what is done with them, don't work.
	CheckFailed CheckStatus = "failed"
	// CheckSkipped means that it could not, or need not, be found out.
	CheckSkipped CheckStatus = "skipped"
)

// Check is one thing that was found out about a storage location.
type Check struct {
	// Name is always the same for the same thing, such as "create-if-absent".
	Name   string      `json:"name"`
	Status CheckStatus `json:"status"`
	// Text is what was found, on one line.
	Text string `json:"text"`
	// Hint is the way out; empty where there is nothing to do, or nothing known.
	Hint string `json:"hint,omitempty"`
}

// LocationCheck is all that was found out about a storage location.
type LocationCheck struct {
	Location   string `json:"location"`
	Provider   string `json:"provider"`
	Bucket     string `json:"bucket"`
	Prefix     string `json:"prefix,omitempty"`
	AccessMode string `json:"accessMode"`
	// Endpoint is where requests went, for a person.
	Endpoint string `json:"endpoint,omitempty"`
	// Checks are in the order in which they were made. Those that an earlier
	// failure made pointless are missing.
	Checks []Check `json:"checks"`
	// Measured is what took how long; what wasn't measured is zero.
	Measured Measured `json:"measured"`
	// Clusters says whose backups lie there, in order of their ids.
	Clusters []ClusterBackups `json:"clusters,omitempty"`
	// Left are the keys of probes, in the bucket, that could not be removed.
	Left []string `json:"left,omitempty"`
	// Interrupted is why not all checks were made; empty when they were.
	Interrupted string `json:"interrupted,omitempty"`
}

// Measured is what was measured in a check.
type Measured struct {
	// ReadLatencyMilliseconds and WriteLatencyMilliseconds are medians of requests
	// without content worth mentioning.
	ReadLatencyMilliseconds  float64 `json:"readLatencyMilliseconds,omitempty"`
	WriteLatencyMilliseconds float64 `json:"writeLatencyMilliseconds,omitempty"`
	UploadBytesPerSecond     float64 `json:"uploadBytesPerSecond,omitempty"`
	DownloadBytesPerSecond   float64 `json:"downloadBytesPerSecond,omitempty"`
	// ClockSkewSeconds is how far the store's clock is ahead of the Job's.
	ClockSkewSeconds float64 `json:"clockSkewSeconds,omitempty"`
}

// Whose backups are, seen from the cluster that asks.
const (
	BackupsOurs    = "ours"
	BackupsAdopted = "adopted"
	BackupsOther   = "other"
	// BackupsUnknown are those that don't say which cluster made them.
	BackupsUnknown = "unknown"
)

// ClusterBackups counts the backups of one cluster.
type ClusterBackups struct {
	// ClusterID is empty for backups that don't say which cluster made them.
	ClusterID string `json:"clusterID,omitempty"`
	// Whose is one of the Backups constants.
	Whose string `json:"whose"`
	Count int    `json:"count"`
}

// Count is how many checks came out so.
func (l *LocationCheck) Count(status CheckStatus) int {
	n := 0
	for _, check := range l.Checks {
		if check.Status == status {
			n++
		}
	}
	return n
}

// CheckEvent is one line of a check as it is sent: one field is set. Without an
// End the check is torn.
type CheckEvent struct {
	Check *Check `json:"check,omitempty"`
	// Running is sent now and then: the name of the check that is being made.
	Running string `json:"running,omitempty"`
	// End has all of it, also the checks that were sent before.
	End *LocationCheck `json:"end,omitempty"`
}

// Rate is a number of bytes per second; 0 when no time passed.
func Rate(bytes int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(bytes) / took.Seconds()
}

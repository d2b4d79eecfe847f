package report

import (
	"cmp"
	"fmt"
	"io"
)

// VolumeStatus is what came of looking for the saved data of a volume.
type VolumeStatus string

// What can come of it.
const (
	// VolumeOK means that the data is there.
	VolumeOK VolumeStatus = "ok"
	// VolumeMissing means that it isn't any more.
	VolumeMissing VolumeStatus = "missing"
	// VolumeFailed means that it is there, and can't be used.
	VolumeFailed VolumeStatus = "failed"
	// VolumeUnknown means that it could not be found out.
	VolumeUnknown VolumeStatus = "unknown"
)

// VolumeCheck is what was found out about the saved data of one volume.
type VolumeCheck struct {
	// PV is the name of the PersistentVolume, PVC the "namespace/name" of its claim,
	// each empty where the backup doesn't say.
	PV  string `json:"pv,omitempty"`
	PVC string `json:"pvc,omitempty"`
	// Method is how the data was saved: a volume.Method.
	Method string `json:"method"`
	// Keeper is who has the data: a CSI driver, or a snapshot location.
	Keeper string `json:"keeper,omitempty"`
	// Handle is the snapshot's id there.
	Handle string       `json:"handle,omitempty"`
	Status VolumeStatus `json:"status"`
	// Text says more, on one line; empty where there is nothing to add.
	Text string `json:"text,omitempty"`
}

// VolumeProgress says how many volumes have been looked at.
type VolumeProgress struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// VolumesEnd is the end of looking.
type VolumesEnd struct {
	// Checked is the number of volumes; the others are how many of them are so.
	Checked int `json:"checked"`
	OK      int `json:"ok"`
	Missing int `json:"missing"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
	// Reason is why not all were looked at; empty when they were.
	Reason string `json:"reason,omitempty"`
}

// VolumeEvent is one line of the answer of a Job: one field is set. Without an End
// the answer is torn.
type VolumeEvent struct {
	Volume *VolumeCheck `json:"volume,omitempty"`
	// Progress is sent now and then.
	Progress *VolumeProgress `json:"progress,omitempty"`
	End      *VolumesEnd     `json:"end,omitempty"`
}

// Add counts a volume.
func (e *VolumesEnd) Add(status VolumeStatus) {
	e.Checked++
	switch status {
	case VolumeOK:
		e.OK++
	case VolumeMissing:
		e.Missing++
	case VolumeFailed:
		e.Failed++
	default:
		e.Unknown++
	}
}

// Verdict says in one line how it came out; backup is the backup's name.
func (e *VolumesEnd) Verdict(backup string) string {
	name := fmt.Sprintf("backup %q", backup)
	switch {
	case e.Missing+e.Failed > 0:
		return fmt.Sprintf("%s is broken: the data of %d of %s is missing or can't be used", name, e.Missing+e.Failed, counted(e.Checked, "volume"))
	case e.Reason != "":
		return fmt.Sprintf("the volumes of %s were not looked at to the end: %s", name, e.Reason)
	case e.Unknown > 0:
		return fmt.Sprintf("whether %s is sound can't be told: %d of %s could not be looked at", name, e.Unknown, counted(e.Checked, "volume"))
	case e.Checked == 0:
		return name + " has no data of volumes outside of its archive"
	}
	return fmt.Sprintf("the data of %s of %s is there", counted(e.Checked, "volume"), name)
}

// volumeRow has room for the longest status.
const volumeRow = "%-8s  %-40s  %s\n"

// PrintVolumeHeader begins the table of a check of volumes.
func PrintVolumeHeader(w io.Writer) { fmt.Fprintf(w, volumeRow, "STATUS", "VOLUME", "SNAPSHOT") }

// Print writes the row of a volume, and what there is to add on a line of its own.
// Some of the text others wrote, so nothing but printable characters is written.
func (c VolumeCheck) Print(w io.Writer) {
	snapshot := c.Method
	if c.Handle != "" {
		snapshot = fmt.Sprintf("%s in %s", c.Handle, c.Keeper)
	}
	fmt.Fprintf(w, volumeRow, string(c.Status), printable(cmp.Or(c.PVC, c.PV, "?")), printable(snapshot))
	if c.Text != "" {
		fmt.Fprintf(w, volumeRow, "", "", printable(c.Text))
	}
}

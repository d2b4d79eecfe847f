package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

func TestVerdictOnVolumes(t *testing.T) {
	t.Parallel()
	ok, missing, failed, unknown := report.VolumeOK, report.VolumeMissing, report.VolumeFailed, report.VolumeUnknown
	for want, c := range map[string]struct {
		statuses []report.VolumeStatus
		reason   string
	}{
		`backup "shop" has no data of volumes outside of its archive`:                               {},
		`the data of 2 volumes of backup "shop" is there`:                                           {statuses: []report.VolumeStatus{ok, ok}},
		`backup "shop" is broken: the data of 2 of 4 volumes is missing or can't be used`:           {statuses: []report.VolumeStatus{ok, missing, failed, unknown}},
		`whether backup "shop" is sound can't be told: 1 of 1 volume could not be looked at`:        {statuses: []report.VolumeStatus{unknown}},
		`the volumes of backup "shop" were not looked at to the end: interrupted`:                   {statuses: []report.VolumeStatus{ok}, reason: "interrupted"},
		`backup "shop" is broken: the data of 1 of 1 volume is missing or can't be used`:            {statuses: []report.VolumeStatus{missing}, reason: "interrupted"},
		`the volumes of backup "shop" were not looked at to the end: storage is unavailable, twice`: {reason: "storage is unavailable, twice"},
	} {
		end := report.VolumesEnd{Reason: c.reason}
		for _, status := range c.statuses {
			end.Add(status)
		}
		if diff := cmp.Diff(want, end.Verdict("shop")); diff != "" || end.Checked != len(c.statuses) {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestRowsOfVolumes: what others wrote can't leave its column.
func TestRowsOfVolumes(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	report.PrintVolumeHeader(&out)
	for _, c := range []report.VolumeCheck{
		{PVC: "shop/data", PV: "pv-1", Method: "CSISnapshot", Keeper: "driver", Handle: "snap-1", Status: report.VolumeOK},
		{PV: "pv-2", Method: "NativeSnapshot", Keeper: "aws", Handle: "snap-2", Status: report.VolumeMissing, Text: "gone\n\x1b[31mfor good"},
		{Status: report.VolumeUnknown, Method: "PodVolumeBackup"},
	} {
		c.Print(&out)
	}
	want := `STATUS    VOLUME                                    SNAPSHOT
ok        shop/data                                 snap-1 in driver
missing   pv-2                                      snap-2 in aws
                                                    gone ` + "\uFFFD" + `[31mfor good
unknown   ?                                         PodVolumeBackup
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

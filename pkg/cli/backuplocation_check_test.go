package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// checkEvents are what a Job tells of a location.
func checkEvents() (events []report.CheckEvent, end report.LocationCheck) {
	end = report.LocationCheck{
		Location: "default", Provider: "aws", Bucket: "backups", AccessMode: "ReadWrite", Endpoint: "https://s3.test",
		Checks: []report.Check{
			{Name: "connect", Status: report.CheckOK, Text: "https://s3.test answers, after 3ms"},
			{Name: "concurrent-create", Status: report.CheckWarning, Text: "of 8 writers 2 won", Hint: "let only one cluster write"},
			{Name: "delete", Status: report.CheckFailed, Text: "1 probe could not be removed: kubectl-velero-probe-x", Hint: "grant s3:DeleteObject"},
			{Name: "lock", Status: report.CheckSkipped, Text: "the server doesn't tell"},
		},
		Measured: report.Measured{ReadLatencyMilliseconds: 1.5},
		Left:     []string{"kubectl-velero-probe-x"},
	}
	events = append(events, report.CheckEvent{Running: "connect"})
	for i := range end.Checks {
		events = append(events, report.CheckEvent{Check: &end.Checks[i]})
	}
	return events, end
}

func TestBackupLocationCheckTable(t *testing.T) {
	t.Parallel()
	f, out, errOut := testFactory()
	s := &session{Factory: f}
	o := &backupLocationCheck{format: "table"}
	events, end := checkEvents()
	teller := o.teller(s)
	for _, e := range events {
		teller.show(e)
	}
	if err := o.print(s, end); err != nil {
		t.Fatal(err)
	}
	golden(t, "backup-location-check.txt", out.String())
	if errOut.Len() > 0 {
		t.Errorf("stderr: %s", errOut)
	}
	out.Reset()
	end.Checks = end.Checks[:2]
	if err := o.print(s, end); err != nil || out.String() != "Storage location \"default\" works, with 1 warning\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestBackupLocationCheckForPrograms(t *testing.T) {
	t.Parallel()
	for format, decode := range map[string]func([]byte, any) error{
		"json": json.Unmarshal, "yaml": func(body []byte, v any) error { return yaml.Unmarshal(body, v) },
	} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			f, out, errOut := testFactory()
			s := &session{Factory: f}
			o := &backupLocationCheck{format: format}
			events, end := checkEvents()
			teller := o.teller(s)
			for _, e := range events {
				teller.show(e)
			}
			f.now = func() time.Time { return now.Add(time.Minute) }
			teller.show(report.CheckEvent{Running: "upload"})
			if out.Len() > 0 || errOut.String() != "1m0s upload\n" {
				t.Errorf("before the end: %q, %q", out, errOut)
			}
			if err := o.print(s, end); err != nil {
				t.Fatal(err)
			}
			var got report.LocationCheck
			if err := decode(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(end, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackupLocationCheckEnds(t *testing.T) {
	t.Parallel()
	_, broken := checkEvents()
	good, interrupted := broken, broken
	good.Checks = good.Checks[:2]
	interrupted.Checks, interrupted.Interrupted = good.Checks, "the Job's deadline was reached"
	for name, c := range map[string]struct {
		result report.LocationCheck
		code   int
		says   string
	}{
		"good":        {good, 0, ""},
		"broken":      {broken, 3, "is not fit for use: 1 check failed"},
		"interrupted": {interrupted, 4, "was not checked to the end: the Job's deadline was reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := ended(c.result)
			if ExitCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBackupLocationCheckFlags(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]backupLocationCheck{
		`output format "wide" is not known; hint: there are table, json and yaml`: {format: "wide"},
	} {
		if err := o.check(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	o := backupLocationCheck{format: "json"}
	if err := o.size.Set("-1"); err != nil {
		t.Fatal(err)
	}
	if err := o.check(); err == nil || err.Error() != "--size -1: a size is not negative" {
		t.Errorf("%v", err)
	}
}

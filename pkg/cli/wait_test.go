package cli

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// TestLines tells a story of an operation second by second, as a log has it.
func TestLines(t *testing.T) {
	t.Parallel()
	waiting := launch.Verdict{Standing: launch.Waiting}
	stuck := launch.Verdict{Standing: launch.Waiting, Cause: "image can't be pulled; hint: load it"}
	working := launch.Verdict{Standing: launch.Running}
	pods := []corev1.Pod{{}}
	items := func(done, total int) launch.State {
		return launch.State{Pods: pods, CR: launch.CR{Done: done, Total: total}}
	}
	snapshots := func(done, ready int, copied string) launch.State {
		return launch.State{Pods: pods, CR: launch.CR{Done: done, Total: 10, Snapshots: 5, SnapshotsReady: ready, Copied: copied}}
	}
	story := []struct {
		after time.Duration
		state launch.State
		v     launch.Verdict
	}{
		{0, launch.State{}, waiting},
		{time.Second, launch.State{Pods: pods}, waiting}, // too soon for another line
		{4 * time.Second, launch.State{Pods: pods}, waiting},
		{5 * time.Second, launch.State{Pods: pods}, stuck}, // a cause never waits
		{6 * time.Second, launch.State{Pods: pods}, stuck}, // and is told once
		{8 * time.Second, launch.State{Pods: pods}, working},
		{9 * time.Second, items(1, 10), working},
		{11 * time.Second, items(4, 10), working},
		{15 * time.Second, items(4, 10), working}, // nothing changed
		{30 * time.Second, snapshots(10, 1, "42%"), working},
		{40 * time.Second, snapshots(10, 4, ""), working},
		{70 * time.Second, snapshots(10, 5, ""), working},
		{71 * time.Second, items(10, 10), launch.Verdict{Standing: launch.Ended, Outcome: report.Completed}},
	}
	var out bytes.Buffer
	clock := now
	l := &lines{out: &out, now: func() time.Time { return clock }, begun: now}
	for _, step := range story {
		clock = now.Add(step.after)
		l.show(step.state, step.v)
	}
	want := strings.TrimPrefix(`
  0s waiting for the Job's pod
  4s starting the pod
warning: image can't be pulled
hint: load it
  8s starting
 11s 4 of 10 items
 30s 10 of 10 items, 1 of 5 snapshots (42% copied)
 40s 10 of 10 items, 4 of 5 snapshots
1m10s 10 of 10 items
`, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFinalLine(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		state launch.State
		v     launch.Verdict
		want  string
	}{
		"completed": {
			launch.State{CR: launch.CR{Phase: "Completed", Terminal: true, Done: 1, Warnings: 2}}, launch.Verdict{Outcome: report.Completed},
			"Backup completed with status: Completed (1 item, 2 warnings, 0 errors, 3s)",
		},
		"refused": {
			launch.State{CR: launch.CR{Phase: "FailedValidation", Terminal: true}}, launch.Verdict{Outcome: report.Usage},
			"Backup completed with status: FailedValidation (0 items, 0 warnings, 0 errors, 3s)",
		},
		"nobody told the record": {
			launch.State{CR: launch.CR{Phase: "InProgress", Done: 4}},
			launch.Verdict{Outcome: report.Failed, Summary: &report.Summary{Errors: 1, Items: 5}},
			"Backup completed with status: Failed (5 items, 0 warnings, 1 error, 3s)",
		},
	}
	for name, c := range cases {
		if got := finalLine(backupNoun, c.state, c.v, 3*time.Second); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	state := launch.State{CR: launch.CR{Reasons: []string{"bucket gone", "forbidden"}}}
	got := reasonsOf(state, launch.Verdict{Outcome: report.Failed, Reason: "bucket gone"})
	if diff := cmp.Diff([]string{"bucket gone", "forbidden"}, got); diff != "" {
		t.Error(diff)
	}
	if got := reasonsOf(state, launch.Verdict{Outcome: report.Completed}); got != nil {
		t.Errorf("reasons of what completed: %q", got)
	}
}

func TestStoppedWaiting(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	s := &session{Factory: f}
	err := s.stoppedWaiting(backupNoun, "shop", context.Canceled)
	want := "stopped waiting; backup \"shop\" goes on in the cluster; hint: `kubectl velero backup describe shop` shows how it fares"
	if err.Error() != want || ExitCode(err) != exitCancelled {
		t.Errorf("got %v, exit code %d", err, ExitCode(err))
	}
	if err := s.stoppedWaiting(backupNoun, "shop", errors.New("boom")); ExitCode(err) != exitError {
		t.Errorf("got %v", err)
	}
}

func TestServerClock(t *testing.T) {
	t.Parallel()
	answer := func(date string) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{Header: http.Header{"Date": {date}}}, nil
		})
	}
	cases := map[string]struct {
		date string
		want time.Time
	}{
		"ahead":          {now.Add(5 * time.Minute).Format(http.TimeFormat), now.Add(5 * time.Minute)},
		"behind":         {now.Add(-time.Hour).Format(http.TimeFormat), now.Add(-time.Hour)},
		"within a tick":  {now.Add(time.Second).Format(http.TimeFormat), now},
		"no such header": {"", now},
	}
	for name, c := range cases {
		clock := &serverClock{now: func() time.Time { return now }}
		if _, err := clock.wrap(answer(c.date)).RoundTrip(nil); err != nil {
			t.Fatal(err)
		}
		if got := clock.Now(); !got.Equal(c.want) {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

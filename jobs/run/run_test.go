package run

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

func TestLogLinesLookLikeVeleros(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := newLog(&out)
	log := slog.New(l.handler(slog.LevelInfo)).With("backup", "velero/shop")
	log.Debug("hidden")
	log.Warn("pods are \"odd\"", "namespace", "shop")
	want := regexp.MustCompile(`^time="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ" level=warning msg="pods are \\"odd\\"" backup=velero/shop namespace=shop\n$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("line %q", out.String())
	}
}

func TestLogIsKeptCompleteAtAnyTime(t *testing.T) {
	t.Parallel()
	l := newLog(io.Discard)
	log := slog.New(l.handler(slog.LevelInfo))
	for n := 1; n <= 3; n++ {
		log.Info("line", "n", n)
		kept, err := l.gzipped()
		if err != nil {
			t.Fatal(err)
		}
		gz, err := gzip.NewReader(bytes.NewReader(kept))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(gz)
		if err != nil || strings.Count(string(text), "\n") != n {
			t.Errorf("after %d lines: %q, %v", n, text, err)
		}
	}
}

func TestDeadlineLeavesTheGracePeriod(t *testing.T) {
	t.Parallel()
	start := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	seconds := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name          string
		active, grace *int64
		want          time.Duration // from the start; 0: none
	}{
		{"no deadline", nil, nil, 0},
		{"hour with two minutes", seconds(3600), seconds(120), 58 * time.Minute},
		{"default grace", seconds(600), nil, 570 * time.Second},
		{"grace of more than half", seconds(60), seconds(120), 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			job := &batchv1.Job{Spec: batchv1.JobSpec{ActiveDeadlineSeconds: c.active}, Status: batchv1.JobStatus{StartTime: &start}}
			job.Spec.Template.Spec.TerminationGracePeriodSeconds = c.grace
			got, ok := deadlineOf(job)
			if ok != (c.want > 0) || (ok && got.Sub(start.Time) != c.want) {
				t.Errorf("deadline %v, %v", got.Sub(start.Time), ok)
			}
		})
	}
}

func TestAttemptAndDeadlineComeFromTheJob(t *testing.T) {
	t.Parallel()
	limit, active := int32(1), int64(600)
	start := metav1.NewTime(time.Now().Add(-time.Hour))
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "velero"},
		Spec:       batchv1.JobSpec{BackoffLimit: &limit, ActiveDeadlineSeconds: &active},
		Status:     batchv1.JobStatus{Failed: 1, StartTime: &start},
	}
	env := &Env{Kube: fake.NewClientset(job), Namespace: "velero", JobName: "j"}
	ctx, cancel, err := env.readJob(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cancel()
	if env.Attempt != 2 || !env.LastAttempt {
		t.Errorf("attempt %d, last %v", env.Attempt, env.LastAttempt)
	}
	outcome, reason := env.Interruption(ctx)
	if outcome != report.Cancelled || !strings.Contains(reason, "deadline") {
		t.Errorf("a deadline in the past: %s, %q", outcome, reason)
	}
}

func TestInterruptionTellsDrainFromCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now := metav1.Now()
	job := func(deleted *metav1.Time) *batchv1.Job {
		return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", Namespace: "velero", DeletionTimestamp: deleted, Finalizers: []string{"x/y"}}}
	}
	for name, c := range map[string]struct {
		env  *Env
		want report.Outcome
	}{
		"outside of a Job":     {&Env{}, report.Cancelled},
		"Job alive: pod moves": {&Env{Kube: fake.NewClientset(job(nil)), Namespace: "velero", JobName: "j"}, report.Temporary},
		"Job being deleted":    {&Env{Kube: fake.NewClientset(job(&now)), Namespace: "velero", JobName: "j"}, report.Cancelled},
		"Job gone":             {&Env{Kube: fake.NewClientset(), Namespace: "velero", JobName: "j"}, report.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, why := c.env.Interruption(ctx); got != c.want || why == "" {
				t.Errorf("%s (%s), want %s", got, why, c.want)
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	broken := report.New()
	broken.Add(report.Error, ref.Object{}, errors.New("pods is forbidden"))
	down := fmt.Errorf("write: %w", store.ErrUnavailable)
	busy := apierrors.NewTooManyRequests("busy", 1)
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "backups"}, "x")
	for _, c := range []struct {
		name string
		last bool
		r    *report.Report
		err  error
		want report.Outcome
		exit int
	}{
		{"clean", true, report.New(), nil, report.Completed, 0},
		{"an object failed", true, broken, nil, report.PartiallyFailed, 11},
		{"refused", true, report.New(), &Refusal{[]string{"a", "b"}}, report.Usage, 10},
		{"store down, first attempt", false, report.New(), down, report.Temporary, 75},
		{"store down, last attempt", true, report.New(), down, report.Failed, 12},
		{"API server busy", false, report.New(), busy, report.Temporary, 75},
		{"nothing that passes", false, report.New(), gone, report.Failed, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := &Env{LastAttempt: c.last}
			got := env.Summarize(t.Context(), c.r, c.err)
			if got.Outcome != c.want || (c.err != nil && got.Reason == "") {
				t.Errorf("%+v, want %s", got, c.want)
			}
			if code := ExitCode(End(slog.New(slog.DiscardHandler), got)); code != c.exit {
				t.Errorf("exit code %d, want %d", code, c.exit)
			}
		})
	}
	if code := ExitCode(errors.New("unknown flag")); code != 10 {
		t.Errorf("exit code of a wrong flag: %d", code)
	}
}

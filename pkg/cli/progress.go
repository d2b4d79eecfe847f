package cli

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// progress shows how an operation fares while a command waits for it.
type progress interface {
	// show is called with every state seen, several times a second at most.
	show(launch.State, launch.Verdict)
	// end leaves the screen tidy; nothing is shown after it.
	end()
}

// newProgress is a bar on a terminal and lines elsewhere, both on ErrOut.
func (s *session) newProgress(ctx context.Context, n noun, name string) progress {
	if canDraw(s.ErrOut) {
		return newBar(ctx, s.ErrOut, n.doing+" "+name)
	}
	return &lines{out: s.ErrOut, now: s.now, begun: s.now()}
}

// stage says in a word what happens, where there are no items to count yet.
func stage(s launch.State, v launch.Verdict) string {
	switch {
	case v.Standing == launch.Waiting && s.Pod() == nil:
		return "waiting for the Job's pod"
	case v.Standing == launch.Waiting:
		return "starting the pod"
	case s.CR.Total == 0:
		return "starting"
	}
	return fmt.Sprintf("%d of %d items", s.CR.Done, s.CR.Total) + snapshotStage(s.CR)
}

// snapshotStage says how many snapshots of volumes can be used, while there are others.
func snapshotStage(cr launch.CR) string {
	if cr.SnapshotsReady >= cr.Snapshots {
		return ""
	}
	text := fmt.Sprintf(", %d of %d snapshots", cr.SnapshotsReady, cr.Snapshots)
	if cr.Copied != "" {
		text += " (" + cr.Copied + " copied)"
	}
	return text
}

// lines tells what changes, line by line, and no more often than every few
// seconds: a log wants to be read.
type lines struct {
	out       io.Writer
	now       func() time.Time
	begun     time.Time
	told      time.Time
	lastStage string
	lastCause string
}

const lineEvery = 3 * time.Second

func (l *lines) show(s launch.State, v launch.Verdict) {
	if v.Standing == launch.Ended && !v.AskBucket {
		return // the final line tells
	}
	now := l.now()
	if v.Cause != l.lastCause {
		l.lastCause = v.Cause
		if v.Cause != "" {
			fmt.Fprintln(l.out, asText("warning: "+v.Cause))
		}
	}
	if text := stage(s, v); text != l.lastStage && now.Sub(l.told) >= lineEvery {
		l.lastStage, l.told = text, now
		fmt.Fprintf(l.out, "%4s %s\n", now.Sub(l.begun).Round(time.Second), text)
	}
}

func (l *lines) end() {}

// bar draws a progress bar and writes causes above it.
type bar struct {
	container *mpb.Progress
	bar       *mpb.Bar
	stage     atomic.Pointer[string]
	lastCause string
}

func newBar(ctx context.Context, out io.Writer, title string) *bar {
	b := &bar{}
	first := "starting"
	b.stage.Store(&first)
	const width = 72
	b.container = mpb.NewWithContext(ctx, mpb.WithOutput(out), mpb.WithWidth(width))
	b.bar = b.container.New(0, mpb.BarStyle().Rbound("]"),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(title+" ")),
		mpb.AppendDecorators(
			decor.Any(func(decor.Statistics) string { return " " + *b.stage.Load() }),
			decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	return b
}

func (b *bar) show(s launch.State, v launch.Verdict) {
	if v.Cause != b.lastCause {
		b.lastCause = v.Cause
		if v.Cause != "" {
			// The bar is redrawn below; losing a line to a closed screen is fine.
			_, _ = fmt.Fprintln(b.container, asText("warning: "+v.Cause))
		}
	}
	text := stage(s, v)
	b.stage.Store(&text)
	if s.CR.Total > 0 {
		b.bar.SetTotal(int64(s.CR.Total), false)
		b.bar.SetCurrent(int64(s.CR.Done))
	}
}

func (b *bar) end() {
	b.bar.Abort(true)
	b.container.Wait()
}

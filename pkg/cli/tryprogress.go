package cli

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// tryProgress shows how many objects of a restore have been tried: a spinner on a
// terminal, else a line now and then.
type tryProgress struct {
	container *mpb.Progress // nil without a spinner
	spinner   *mpb.Bar
	tried     atomic.Int64

	out         io.Writer
	now         func() time.Time
	begun, told time.Time
}

func (f *Factory) newTryProgress(ctx context.Context, title string) *tryProgress {
	p := &tryProgress{out: f.ErrOut, now: f.now, begun: f.now(), told: f.now()}
	if !canDraw(f.ErrOut) {
		return p
	}
	p.container = mpb.NewWithContext(ctx, mpb.WithOutput(f.ErrOut))
	p.spinner = p.container.New(0, mpb.SpinnerStyle(), mpb.BarRemoveOnComplete(), mpb.BarWidth(1),
		mpb.PrependDecorators(decor.Name(title+" ")),
		mpb.AppendDecorators(
			decor.Any(func(decor.Statistics) string { return " " + p.text() }),
			decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	return p
}

// text says how far it is.
func (p *tryProgress) text() string {
	if n := p.tried.Load(); n > 0 {
		return count(int(n), "object")
	}
	return "starting"
}

// show tells that so many objects have been tried.
func (p *tryProgress) show(tried int) {
	p.tried.Store(int64(tried))
	if now := p.now(); p.container == nil && now.Sub(p.told) >= lineEvery {
		p.told = now
		fmt.Fprintf(p.out, "%4s %s\n", now.Sub(p.begun).Round(time.Second), p.text())
	}
}

// end leaves the screen tidy; nothing is shown after it.
func (p *tryProgress) end() {
	if p.container != nil {
		p.spinner.Abort(true)
		p.container.Wait()
	}
}

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// transferProgress shows how far a transfer is: a bar on a terminal, else a line
// now and then.
type transferProgress struct {
	container *mpb.Progress // nil without a bar
	bar       *mpb.Bar

	out         io.Writer
	now         func() time.Time
	begun, told time.Time
}

func (f *Factory) newTransferProgress(ctx context.Context, title string) *transferProgress {
	p := &transferProgress{out: f.ErrOut, now: f.now, begun: f.now(), told: f.now()}
	if !canDraw(f.ErrOut) {
		return p
	}
	const width = 72
	p.container = mpb.NewWithContext(ctx, mpb.WithOutput(f.ErrOut), mpb.WithWidth(width))
	p.bar = p.container.New(0, mpb.BarStyle().Rbound("]"), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(title+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte(" % .1f / % .1f"), decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6})))
	return p
}

// show tells that done of total bytes are there.
func (p *transferProgress) show(done, total int64) {
	if p.container != nil {
		p.bar.SetTotal(total, false)
		p.bar.SetCurrent(done)
		return
	}
	if now := p.now(); now.Sub(p.told) >= lineEvery {
		p.told = now
		fmt.Fprintf(p.out, "%4s %d of %d bytes\n", now.Sub(p.begun).Round(time.Second), done, total)
	}
}

// end leaves the screen tidy; nothing is shown after it.
func (p *transferProgress) end() {
	if p.container != nil {
		p.bar.Abort(true)
		p.container.Wait()
	}
}

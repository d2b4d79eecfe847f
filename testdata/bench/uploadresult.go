package main

import (
	"fmt"
	"io"
	"slices"
)

// What has to be reached by uploads.
const (
	targetUpload       = 0.9
	targetUploadMemory = 64 << 20
)

// uploads are the results of one run of the bench.
type uploads []*uploadResult

// uploadResult is what was measured of uploads to one store.
type uploadResult struct {
	store, client string
	sizeBytes     int64
	theirs, ours  []taken
}

func peakAnon(t taken) float64 { return float64(t.PeakAnonBytes) }

// rate is bytes per second, of the median.
func (r *uploadResult) rate(all []taken) float64 {
	return float64(r.sizeBytes) / spreadTaken(all, seconds).median
}

func (r *uploadResult) ratio() float64 { return r.rate(r.ours) / r.rate(r.theirs) }

// ratios are the least and the most of a round.
func (r *uploadResult) ratios() (least, most float64) {
	var all []float64
	for i := range r.ours {
		all = append(all, r.theirs[i].Seconds/r.ours[i].Seconds)
	}
	return slices.Min(all), slices.Max(all)
}

func (all uploads) print(w io.Writer) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\nuploads of %s MiB in parts of %d MiB; median of %d rounds (least to most)\n",
		thousands(int(all[0].sizeBytes/mib)), uploadPart/mib, len(all[0].ours))
	for _, r := range all {
		line := func(what string, of []taken) {
			s, cpu, rss := spreadTaken(of, seconds), spreadTaken(of, cpuSeconds), spreadTaken(of, peakRSS)
			fmt.Fprintf(w, "  %-10s %-20s %8.1f MB/s   %.2f s (%.2f to %.2f)   CPU %.2f s   peak RSS %.1f MiB, anonymous %.1f MiB\n",
				r.store, what, r.rate(of)/1e6, s.median, s.least, s.most, cpu.median, rss.most/mib, spreadTaken(of, peakAnon).most/mib)
		}
		line(r.client, r.theirs)
		line("ours", r.ours)
		least, most := r.ratios()
		fmt.Fprintf(w, "  %-10s %-20s %8.2f   (%.2f to %.2f in a round)\n", r.store, "ratio", r.ratio(), least, most)
	}
}

func (all uploads) printTargets(target func(what string, value, limit float64, format string, most bool)) {
	for _, r := range all {
		target("upload to "+r.store+", rate against "+r.client, r.ratio(), targetUpload, "%.2f", false)
		target("upload to "+r.store+", peak RSS in MiB", spreadTaken(r.ours, peakRSS).most/mib, targetUploadMemory/mib, "%.1f", true)
		target("upload to "+r.store+", peak anonymous memory in MiB", spreadTaken(r.ours, peakAnon).most/mib, targetUploadMemory/mib, "%.1f", true)
	}
}

// uploadFigures are a result in bench.json. Rates are those of the medians, peaks
// the highest of all.
type uploadFigures struct {
	Store         string  `json:"store"`
	Client        string  `json:"client"`
	SizeBytes     int64   `json:"sizeBytes"`
	ClientRate    float64 `json:"clientBytesPerSecond"`
	OursRate      float64 `json:"oursBytesPerSecond"`
	Ratio         float64 `json:"ratio"`
	PeakRSSBytes  int64   `json:"peakRSSBytes"`
	PeakAnonBytes int64   `json:"peakAnonBytes"`
	ClientRounds  []taken `json:"clientRounds"`
	OursRounds    []taken `json:"oursRounds"`
}

func (all uploads) figures() []uploadFigures {
	var figures []uploadFigures
	for _, r := range all {
		figures = append(figures, uploadFigures{
			Store: r.store, Client: r.client, SizeBytes: r.sizeBytes,
			ClientRate: r.rate(r.theirs), OursRate: r.rate(r.ours), Ratio: r.ratio(),
			PeakRSSBytes:  int64(spreadTaken(r.ours, peakRSS).most),
			PeakAnonBytes: int64(spreadTaken(r.ours, peakAnon).most),
			ClientRounds:  r.theirs, OursRounds: r.ours,
		})
	}
	return figures
}

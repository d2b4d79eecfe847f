package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// What has to be reached by restores.
const (
	targetRate     = 0.75
	targetPerItem  = 1.3
	targetAllThere = 3.0
)

// restoreResult is what was measured of restores of one data set.
type restoreResult struct {
	set  dataSet
	sums sums
	// floors are the objects created by plain clients, by number of workers.
	floors map[int][]createResult
	// ours are restores into nothing, again those that met everything, lists
	// what these are compared with.
	ours, again, lists []taken
	// requests are those of a restore into nothing.
	requests *requests
	// The variants may be nil: a restore that met everything, one into empty
	// namespaces that were there, and one of applied objects.
	againRequests, existingRequests *requests
	applied                         *appliedResult
}

// appliedResult is what was measured of objects with owners by server-side
// apply.
type appliedResult struct {
	requests *requests
	floor    createResult
	ours     taken
}

// rate is objects per second.
func (c createResult) rate() float64 { return float64(c.Objects) / c.Seconds }

func (r *restoreResult) rate(t taken) float64 { return float64(len(r.sums)) / t.Seconds }

func floorRates(all []createResult) spread {
	return floorSpread(all, createResult.rate)
}

func floorSpread(all []createResult, figure func(createResult) float64) spread {
	var values []float64
	for _, c := range all {
		values = append(values, figure(c))
	}
	return spreadOf(values)
}

// bestWorkers is the number of workers with which the floor is fastest.
func (r *restoreResult) bestWorkers() int {
	return slices.MaxFunc(slices.Collect(maps.Keys(r.floors)), func(a, b int) int {
		return cmp.Compare(floorRates(r.floors[a]).median, floorRates(r.floors[b]).median)
	})
}

func (r *restoreResult) floorRate() float64 { return floorRates(r.floors[r.bestWorkers()]).median }
func (r *restoreResult) oursRate() float64 {
	return float64(len(r.sums)) / spreadTaken(r.ours, seconds).median
}
func (r *restoreResult) ratio() float64 { return r.oursRate() / r.floorRate() }

// againRatio is how much longer a restore takes that has nothing to do than the
// lists that show it.
func (r *restoreResult) againRatio() float64 {
	return spreadTaken(r.again, seconds).median / spreadTaken(r.lists, seconds).median
}

// ratios are the least and the most of a round, against the same floor.
func (r *restoreResult) ratios() (least, most float64) {
	var all []float64
	for i, floor := range r.floors[r.bestWorkers()] {
		all = append(all, r.rate(r.ours[i])/floor.rate())
	}
	return slices.Min(all), slices.Max(all)
}

// perObject is how many requests an object of the mix takes, all that a restore
// asks for included.
func (r *restoreResult) perObject(of *requests) float64 {
	return float64(of.total) / float64(len(r.sums))
}

// peak is the most memory that any of the restores held.
func (r *restoreResult) peak() float64 {
	all := slices.Concat(r.ours, r.again)
	if r.applied != nil {
		all = append(all, r.applied.ours)
	}
	return spreadTaken(all, peakRSS).most
}

func (r *restoreResult) print(w io.Writer) {
	fmt.Fprintf(w, "\nrestore of %s: %s items (%s); median of %d rounds (least to most)\n",
		r.set.title(), thousands(len(r.sums)), r.sums.counts(), len(r.ours))
	for _, workers := range slices.Sorted(maps.Keys(r.floors)) {
		s := floorRates(r.floors[workers])
		cpu := floorSpread(r.floors[workers], func(c createResult) float64 { return c.CPUSeconds })
		fmt.Fprintf(w, "  %-18s %8.0f objects/s (%.0f to %.0f)   CPU %.3f s\n", fmt.Sprintf("floor, %d workers", workers), s.median, s.least, s.most, cpu.median)
	}
	took, cpu, rss := spreadTaken(r.ours, seconds), spreadTaken(r.ours, cpuSeconds), spreadTaken(r.ours, peakRSS)
	fmt.Fprintf(w, "  %-18s %8.0f objects/s   %.3f s (%.3f to %.3f)   CPU %.3f s   peak RSS %.1f MiB (%.1f to %.1f)\n",
		"ours", r.oursRate(), took.median, took.least, took.most, cpu.median, rss.median/mib, rss.least/mib, rss.most/mib)
	least, most := r.ratios()
	fmt.Fprintf(w, "  %-18s %8.2f   (%.2f to %.2f in a round)\n", "ratio", r.ratio(), least, most)
	r.printRequests(w, "requests", r.requests)
	if r.existingRequests != nil {
		r.printRequests(w, "namespaces there", r.existingRequests)
	}
	lists, again := spreadTaken(r.lists, seconds), spreadTaken(r.again, seconds)
	fmt.Fprintf(w, "  %-18s %8.3f s (%.3f to %.3f)   CPU %.3f s   peak RSS %.1f MiB\n", "all there",
		again.median, again.least, again.most, spreadTaken(r.again, cpuSeconds).median, spreadTaken(r.again, peakRSS).most/mib)
	fmt.Fprintf(w, "  %-18s %8.3f s (%.3f to %.3f): ratio %.2f\n", "  lists", lists.median, lists.least, lists.most, r.againRatio())
	if r.againRequests != nil {
		r.printRequests(w, "  requests", r.againRequests)
	}
	if r.applied != nil {
		r.printApplied(w)
	}
}

func (r *restoreResult) printApplied(w io.Writer) {
	ours := r.rate(r.applied.ours)
	fmt.Fprintf(w, "  %-18s %8.0f objects/s   CPU %.3f s; floor with two writes %.0f/s, ratio %.2f; against one write %.2f\n",
		"all applied", ours, r.applied.ours.CPUSeconds, r.applied.floor.rate(), ours/r.applied.floor.rate(), ours/r.floorRate())
	r.printRequests(w, "  requests", r.applied.requests)
}

func (r *restoreResult) printRequests(w io.Writer, what string, of *requests) {
	const told = 5
	parts := of.byKind()
	fmt.Fprintf(w, "  %-18s %8.2f an object, %s: %s\n", what, r.perObject(of), thousands(of.total), strings.Join(parts[:min(told, len(parts))], ", "))
}

func (r *restoreResult) printTargets(target func(what string, value, limit float64, format string, most bool)) {
	title := r.set.title()
	if r.set.objects >= defaultObjects { // what every restore takes outweighs fewer
		target("rate against the floor's, restore of "+title, r.ratio(), targetRate, "%.2f", false)
		target("all there, against lists, restore of "+title, r.againRatio(), targetAllThere, "%.2f", true)
	}
	target("requests an object, restore of "+title, r.perObject(r.requests), targetPerItem, "%.2f", true)
	target("peak RSS in MiB, restore of "+title, r.peak()/mib, targetRSS/mib, "%.1f", true)
}

// restoreFigures are a result in bench.json. Rates and seconds are medians, the
// peak is the highest of all.
type restoreFigures struct {
	Objects           int     `json:"objects"`
	FloorRate         float64 `json:"floorRate"`
	OursRate          float64 `json:"oursRate"`
	Ratio             float64 `json:"ratio"`
	RequestsPerObject float64 `json:"requestsPerObject"`
	PeakRSSBytes      int64   `json:"peakRSSBytes"`

	FloorWorkers   int                    `json:"floorWorkers"`
	Rounds         int                    `json:"rounds"`
	Items          int                    `json:"items"`
	Requests       requestFigures         `json:"requests"`
	OursSeconds    float64                `json:"oursSeconds"`
	OursCPUSeconds float64                `json:"oursCPUSeconds"`
	FloorRounds    map[int][]createResult `json:"floorRounds"`
	OursRounds     []taken                `json:"oursRounds"`

	AllThere allThereFigures `json:"allThere"`
	// NamespacesThere are the requests of a restore into empty namespaces.
	NamespacesThere *requestFigures `json:"namespacesThere,omitempty"`
	Applied         *appliedFigures `json:"applied,omitempty"`
	Small           *restoreFigures `json:"small,omitempty"`
}

// requestFigures are the requests of one restore.
type requestFigures struct {
	Total     int      `json:"total"`
	PerObject float64  `json:"perObject"`
	ByKind    []string `json:"byKind"`
}

// requestFigures returns nil for what wasn't counted.
func (r *restoreResult) requestFigures(of *requests) *requestFigures {
	if of == nil {
		return nil
	}
	return &requestFigures{Total: of.total, PerObject: r.perObject(of), ByKind: of.byKind()}
}

// allThereFigures are those of a restore that met all it would create.
type allThereFigures struct {
	ListSeconds float64         `json:"listSeconds"`
	OursSeconds float64         `json:"oursSeconds"`
	Ratio       float64         `json:"ratio"`
	Requests    *requestFigures `json:"requests,omitempty"`
	OursRounds  []taken         `json:"oursRounds"`
	ListRounds  []taken         `json:"listRounds"`
}

// appliedFigures are those of objects that take two writes, the floor's too.
type appliedFigures struct {
	FloorRate         float64 `json:"floorRate"`
	OursRate          float64 `json:"oursRate"`
	Ratio             float64 `json:"ratio"`
	RequestsPerObject float64 `json:"requestsPerObject"`
	PeakRSSBytes      int64   `json:"peakRSSBytes"`
}

func (r *restoreResult) figures() *restoreFigures {
	f := &restoreFigures{
		Objects: r.set.objects, FloorRate: r.floorRate(), OursRate: r.oursRate(), Ratio: r.ratio(),
		RequestsPerObject: r.perObject(r.requests), PeakRSSBytes: int64(r.peak()),
		FloorWorkers: r.bestWorkers(), Rounds: len(r.ours), Items: len(r.sums),
		Requests: *r.requestFigures(r.requests), NamespacesThere: r.requestFigures(r.existingRequests),
		OursSeconds: spreadTaken(r.ours, seconds).median, OursCPUSeconds: spreadTaken(r.ours, cpuSeconds).median,
		FloorRounds: r.floors, OursRounds: r.ours,
		AllThere: allThereFigures{
			ListSeconds: spreadTaken(r.lists, seconds).median, OursSeconds: spreadTaken(r.again, seconds).median,
			Ratio: r.againRatio(), Requests: r.requestFigures(r.againRequests), OursRounds: r.again, ListRounds: r.lists,
		},
	}
	if r.applied != nil {
		ours, floor := r.rate(r.applied.ours), r.applied.floor.rate()
		f.Applied = &appliedFigures{
			FloorRate: floor, OursRate: ours, Ratio: ours / floor,
			RequestsPerObject: r.perObject(r.applied.requests), PeakRSSBytes: r.applied.ours.PeakRSSBytes,
		}
	}
	return f
}

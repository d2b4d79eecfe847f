package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// What has to be reached.
const (
	targetRatio     = 2.0
	targetRSS       = 128 << 20
	targetRSSGrowth = 1.2
	targetRequests  = 20
	mib             = 1 << 20
)

// results are those of backups of one run of the bench.
type results []*result

// result is what was measured of backups of one data set.
type result struct {
	set         dataSet
	requests    *requests
	contents    contents
	floorResult floorResult
	floor, ours []taken
	shortest    []taken
}

func seconds(t taken) float64    { return t.Seconds }
func cpuSeconds(t taken) float64 { return t.CPUSeconds }
func peakRSS(t taken) float64    { return float64(t.PeakRSSBytes) }

// spread is the median of a figure, and its extremes.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	slices.Sort(values)
	n := len(values)
	return spread{median: (values[(n-1)/2] + values[n/2]) / 2, least: values[0], most: values[n-1]}
}

func spreadTaken(all []taken, figure func(taken) float64) spread {
	var values []float64
	for _, t := range all {
		values = append(values, figure(t))
	}
	return spreadOf(values)
}

func (r *result) ratio() float64 {
	return spreadTaken(r.ours, seconds).median / spreadTaken(r.floor, seconds).median
}

// ratios are the least and the most of a round.
func (r *result) ratios() (least, most float64) {
	var all []float64
	for i := range r.ours {
		all = append(all, r.ours[i].Seconds/r.floor[i].Seconds)
	}
	return slices.Min(all), slices.Max(all)
}

// peak is the most memory that any of the backups held.
func (r *result) peak() float64 { return spreadTaken(r.ours, peakRSS).most }

func (r *result) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s items of %d kinds, %.1f MB of JSON, archive %.1f MB; median of %d rounds (least to most)\n",
		r.set.title(), thousands(r.contents.items), len(r.requests.lists), mb(r.contents.plainBytes), mb(r.contents.archiveBytes), len(r.ours))
	line := func(what string, all []taken, more string) {
		s, cpu := spreadTaken(all, seconds), spreadTaken(all, cpuSeconds)
		fmt.Fprintf(w, "  %-18s %8.3f s (%.3f to %.3f)   CPU %.3f s   %s\n", what, s.median, s.least, s.most, cpu.median, more)
	}
	line("floor", r.floor, fmt.Sprintf("%d pages, %.1f MB", r.floorResult.Pages, mb(r.floorResult.Bytes)))
	took := spreadTaken(r.ours, seconds).median
	line("ours", r.ours, fmt.Sprintf("%s objects/s, %.1f MB/s", thousands(int(float64(r.contents.items)/took)), mb(r.contents.plainBytes)/took))
	line("shortest backup", r.shortest, "what every backup takes")
	least, most := r.ratios()
	fmt.Fprintf(w, "  %-18s %8.2f   (%.2f to %.2f in a round)\n", "ratio", r.ratio(), least, most)
	rss := spreadTaken(r.ours, peakRSS)
	fmt.Fprintf(w, "  %-18s %8.1f MiB (%.1f to %.1f)\n", "peak RSS", rss.median/mib, rss.least/mib, rss.most/mib)
	fmt.Fprintf(w, "  %-18s %8d: %d pages and %d others\n", "API requests", r.requests.total, r.requests.pages(), r.requests.total-r.requests.pages())
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// thousands writes n with separators.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// find returns the first that the condition holds for, or nil.
func (all results) find(condition func(dataSet) bool) *result {
	if i := slices.IndexFunc(all, func(r *result) bool { return condition(r.set) }); i >= 0 {
		return all[i]
	}
	return nil
}

func (all results) printTargets(target func(what string, value, limit float64, format string, most bool)) {
	for _, r := range all {
		if r.set.objects >= defaultObjects { // what every backup takes outweighs fewer
			target("ratio, "+r.set.title(), r.ratio(), targetRatio, "%.2f", true)
		}
		target("peak RSS in MiB, "+r.set.title(), r.peak()/mib, targetRSS/mib, "%.1f", true)
	}
	for _, r := range all {
		target("API requests beyond pages and progress, "+r.set.title(), float64(r.beyondPages()), targetRequests, "%.0f", true)
	}
	small, large := all.find(func(s dataSet) bool { return s.objects == defaultObjects }), all.find(func(s dataSet) bool { return s.objects > defaultObjects })
	if small != nil && large != nil {
		target(fmt.Sprintf("peak RSS, %s against %s", large.set.title(), small.set.title()), large.peak()/small.peak(), targetRSSGrowth, "%.2f", true)
	}
}

// beyondPages are the requests that neither list nor tell progress, of which
// there is at most one a second.
func (r *result) beyondPages() int {
	n := r.requests.total - r.requests.pages()
	for request, count := range r.requests.others {
		if strings.HasPrefix(request, http.MethodPatch+" ") {
			n -= count
		}
	}
	return n
}

// figures are a result in bench.json. Seconds are medians, the peak is the
// highest of all.
type figures struct {
	Objects      int     `json:"objects"`
	FloorSeconds float64 `json:"floorSeconds"`
	OursSeconds  float64 `json:"oursSeconds"`
	Ratio        float64 `json:"ratio"`
	PeakRSSBytes int64   `json:"peakRSSBytes"`
	Requests     int     `json:"requests"`

	Pages           int64    `json:"pages"`
	OtherRequests   []string `json:"otherRequests"`
	Rounds          int      `json:"rounds"`
	Items           int      `json:"items"`
	JSONBytes       int64    `json:"jsonBytes"`
	ArchiveBytes    int64    `json:"archiveBytes"`
	FloorCPUSeconds float64  `json:"floorCPUSeconds"`
	OursCPUSeconds  float64  `json:"oursCPUSeconds"`
	ShortestSeconds float64  `json:"shortestSeconds"`
	FloorRounds     []taken  `json:"floorRounds"`
	OursRounds      []taken  `json:"oursRounds"`
}

func (r *result) figures() figures {
	var others []string
	for _, request := range slices.Sorted(maps.Keys(r.requests.others)) {
		others = append(others, fmt.Sprintf("%d %s", r.requests.others[request], request))
	}
	slices.SortStableFunc(others, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	return figures{
		Objects: r.set.size(), Rounds: len(r.ours), Items: r.contents.items,
		FloorSeconds: spreadTaken(r.floor, seconds).median, OursSeconds: spreadTaken(r.ours, seconds).median, Ratio: r.ratio(),
		PeakRSSBytes: int64(r.peak()), Requests: r.requests.total, Pages: r.floorResult.Pages, OtherRequests: others,
		JSONBytes: r.contents.plainBytes, ArchiveBytes: r.contents.archiveBytes,
		FloorCPUSeconds: spreadTaken(r.floor, cpuSeconds).median, OursCPUSeconds: spreadTaken(r.ours, cpuSeconds).median,
		ShortestSeconds: spreadTaken(r.shortest, seconds).median,
		FloorRounds:     r.floor, OursRounds: r.ours,
	}
}

// backupFigures are the results of backups in bench.json.
type backupFigures struct {
	figures
	Small   *figures `json:"small,omitempty"`
	Secrets *figures `json:"secrets1MiB,omitempty"`
}

func (all results) figures() *backupFigures {
	file := &backupFigures{}
	for _, r := range all {
		f := r.figures()
		switch {
		case r.set.main:
			file.figures = f
		case r.set.secrets > 0:
			file.Secrets = &f
		default:
			file.Small = &f
		}
	}
	return file
}

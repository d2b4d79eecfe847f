package run

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// leastMemory is what the garbage collector is given before it works harder,
	// in bytes. Without it the heap would grow with the rate of garbage.
	leastMemory = 40 << 20
	// memoryStep is how often the limit follows what is alive.
	memoryStep = time.Second
)

// KeepMemoryLow lets the garbage collector keep the process small until ctx
// ends: the limit is soft, and grows with what is really in use. A GOMEMLIMIT in
// the environment is left alone.
func KeepMemoryLow(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(leastMemory)
	go func() {
		ticker := time.NewTicker(memoryStep)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				debug.SetMemoryLimit(memoryLimit(liveHeap()))
			}
		}
	}()
}

// memoryLimit leaves room for garbage, a quarter of what is alive and some more, so
// that the collector doesn't run all the time.
func memoryLimit(live uint64) int64 {
	const room = 8 << 20
	return max(leastMemory, int64(live)*5/4+room)
}

// liveHeap is what the last collection found alive, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

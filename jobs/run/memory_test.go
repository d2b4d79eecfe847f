package run

import "testing"

func TestTheMemoryLimitFollowsWhatIsAlive(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int64{0: 40 << 20, 10 << 20: 40 << 20, 100 << 20: 133 << 20} {
		if got := memoryLimit(live); got != want {
			t.Errorf("memoryLimit(%d MiB) = %d MiB, want %d", live>>20, got>>20, want>>20)
		}
	}
}

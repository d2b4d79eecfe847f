package compare

import (
	"context"
	"time"
)

// Settle reads and compares until nothing differs, since controllers still work
// on what was restored, or until patience ends. It returns the last comparison.
func Settle(ctx context.Context, patience time.Duration, read func(context.Context) (State, error), compare func(State) Result) (Result, error) {
	deadline := time.Now().Add(patience)
	for {
		state, err := read(ctx)
		if err != nil {
			return Result{}, err
		}
		result := compare(state)
		if len(result.Differences) == 0 || time.Now().After(deadline) {
			return result, nil
		}
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

package hooks_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
)

// FuzzRestoreAnnotations restores pods from a backup that anybody may have
// written: whatever their annotations and init containers are, the hook's
// container comes first, or after one that waits for data, and doing it again
// changes nothing.
func FuzzRestoreAnnotations(f *testing.F) {
	f.Add("alpine", "", `["date"]`, "5m", `[{"name": "restore-wait"}, {"name": "own"}]`)
	f.Add("alpine", "own", "date", "", `[{"name": "own", "image": "alpine", "command": ["date"]}]`)
	f.Add("alpine", "restore-wait", "date", "", `[{"name": "own"}]`)
	f.Add("x", "velero-restore-init-00000001", "[", "-1s", `[7, null, {"name": {}}]`)
	f.Fuzz(func(t *testing.T, image, name, command, wait, initContainers string) {
		var has []any
		if json.Unmarshal([]byte(initContainers), &has) != nil {
			t.Skip()
		}
		pod := annotated(map[string]string{
			"init.container-image": image, "init.container-name": name, "init.command": command,
			"post.command": command, "post.container": name, "post.wait-timeout": wait, "post.exec-timeout": wait,
		})
		h := buildRestore(t)
		for _, hook := range first(h.Post(pod)) {
			if hook.WaitTimeout < 0 || hook.Timeout <= 0 {
				t.Errorf("times %s, %s", hook.WaitTimeout, hook.Timeout)
			}
		}
		add := first(h.Init(pod))
		placed := hooks.PlaceInit(has, add)
		for _, container := range add {
			isIt := func(c any) bool { return cmp.Equal(c, any(container)) }
			if !slices.ContainsFunc(placed[:min(2, len(placed))], isIt) {
				t.Errorf("%v isn't in front of %v", container, placed)
			}
		}
		if diff := cmp.Diff(placed, hooks.PlaceInit(placed, add)); diff != "" {
			t.Errorf("placed again (-once +twice):\n%s", diff)
		}
	})
}

func first[T any](value T, _ []string) T { return value }

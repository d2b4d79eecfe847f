package hooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// generatedPrefix begins the names of init containers whose annotations name
// none; eight hexadecimal digits follow.
const generatedPrefix = "velero-restore-init-"

// waiters are the names of the init container that waits for the data of volumes
// to be restored: today's, and that of Velero before 1.10.
var waiters = []string{"restore-wait", "restic-wait"}

// PlaceInit returns a pod's list of init containers with those of its hooks: in
// front of all others but of one that waits for the data of the pod's volumes,
// which hooks may want to see. A pod that was restored before, and backed up
// with the init containers of its hooks, doesn't get them twice. Neither list is
// changed.
func PlaceInit(initContainers []any, add []map[string]any) []any {
	if len(add) == 0 {
		return initContainers
	}
	own := slices.DeleteFunc(slices.Clone(initContainers), func(container any) bool {
		return slices.ContainsFunc(add, func(added map[string]any) bool { return comesFrom(container, added) })
	})
	var placed []any
	if len(own) > 0 && slices.Contains(waiters, nameOf(own[0])) {
		placed, own = append(placed, own[0]), own[1:]
	}
	for _, container := range add {
		placed = append(placed, container)
	}
	return append(placed, own...)
}

// comesFrom reports whether a container of the pod is what an earlier restore
// added for the same hook. One that only has the same name is not: the API server
// then refuses the pod, rather than that an init container of its own is lost.
func comesFrom(container any, added map[string]any) bool {
	if isGenerated(nameOf(container)) && isGenerated(nameOf(added)) {
		return true
	}
	fields, ok := container.(map[string]any)
	if !ok || nameOf(container) != nameOf(added) {
		return false
	}
	return reflect.DeepEqual(fields["image"], added["image"]) && reflect.DeepEqual(fields["command"], added["command"])
}

// isGenerated reports whether a name was made up for an init container.
func isGenerated(name string) bool {
	digits, ok := strings.CutPrefix(name, generatedPrefix)
	return ok && len(digits) == 8 && strings.Trim(digits, "0123456789abcdef") == ""
}

// nameOf is the name of a container; empty if it has none.
func nameOf(container any) string {
	fields, _ := container.(map[string]any)
	name, _ := fields["name"].(string)
	return name
}

// decodeContainer reads a container that ValidateRestore has accepted as it is
// written, so that fields that this program doesn't know stay.
func decodeContainer(raw []byte) (container map[string]any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&container); err != nil {
		return nil, fmt.Errorf("decode container: %w", err)
	}
	return container, nil
}

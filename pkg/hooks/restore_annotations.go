package hooks

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// What the annotations of a restore's hooks begin with.
const (
	initPrefix = "init.hook.restore.velero.io/"
	postPrefix = "post.hook.restore.velero.io/"
)

// initFromAnnotations returns the init container that a pod's annotations ask
// for, nil if none, and what couldn't be understood.
func initFromAnnotations(pod Pod) (container map[string]any, warnings []string) {
	a := annotations{prefix: initPrefix, set: pod.Annotations}
	image, name, command := strings.TrimSpace(a.get("container-image")), strings.TrimSpace(a.get("container-name")), a.get("command")
	if image == "" {
		for _, key := range []string{"container-name", "command"} {
			if a.get(key) != "" {
				return nil, []string{a.warning(key, "no init container is added without annotation %scontainer-image", initPrefix)}
			}
		}
		return nil, nil
	}
	if name == "" {
		name = generatedName(pod)
	}
	container = map[string]any{"name": name, "image": image}
	if strings.TrimSpace(command) == "" {
		return container, nil // the image's own
	}
	words, ok := parseCommand(command)
	if !ok {
		warnings = append(warnings, a.notAnArray())
	}
	list := make([]any, len(words))
	for i, word := range words {
		list[i] = word
	}
	container["command"] = list
	return container, warnings
}

// generatedName is that of an init container whose annotations name none. It is
// the same each time, so that a preview shows what a restore does.
func generatedName(pod Pod) string {
	sum := fnv.New32a()
	_, _ = fmt.Fprintf(sum, "%s/%s", pod.Namespace, pod.Name) // a hash takes everything
	return fmt.Sprintf("%s%08x", generatedPrefix, sum.Sum32())
}

// postFromAnnotations returns the hook that a pod's annotations ask for: one or
// none.
func postFromAnnotations(pod Pod) []PostHook {
	a := annotations{prefix: postPrefix, set: pod.Annotations}
	if strings.TrimSpace(a.get("command")) == "" {
		return nil
	}
	h := PostHook{Hook: Hook{Source: a.prefix + "command", Container: strings.TrimSpace(a.get("container"))}}
	warn := func(key, format string, args ...any) {
		h.Warnings = append(h.Warnings, a.warning(key, format, args...))
	}
	var ok bool
	if h.Command, ok = parseCommand(a.get("command")); !ok {
		h.Warnings = append(h.Warnings, a.notAnArray())
	}
	if h.OnError = orContinue(velerov1.HookErrorMode(a.get("on-error"))); !known(h.OnError) {
		// One who writes something wants more than what is done without it.
		warn("on-error", "%q is neither %s nor %s; taken as %[3]s", h.OnError, velerov1.HookErrorModeContinue, velerov1.HookErrorModeFail)
		h.OnError = velerov1.HookErrorModeFail
	}
	var why string
	if h.Timeout, why = parseTimeout(a.get("exec-timeout")); why != "" {
		warn("exec-timeout", "%s; taken as %s", why, h.Timeout)
	}
	if h.WaitTimeout, why = parseWait(a.get("wait-timeout")); why != "" {
		warn("wait-timeout", "%s; taken as not set", why)
	}
	if value := a.get("wait-for-ready"); value != "" {
		var err error
		if h.WaitForReady, err = strconv.ParseBool(value); err != nil {
			warn("wait-for-ready", "%q is neither true nor false; taken as false", value)
		}
	}
	return []PostHook{h}
}

// parseWait returns zero for no value, and with a reason for values that can't be
// used.
func parseWait(value string) (wait time.Duration, why string) {
	if value == "" {
		return 0, ""
	}
	wait, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return 0, fmt.Sprintf("%q is not a duration such as 90s or 5m", value)
	case wait < 0:
		return 0, fmt.Sprintf("%q is negative", value)
	}
	return wait, ""
}

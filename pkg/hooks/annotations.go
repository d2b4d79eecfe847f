package hooks

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// annotationDomain is what the annotations of a backup's hooks share. A phase
// and a dot stand before it; without them they are an older form of Pre.
const annotationDomain = "hook.backup.velero.io/"

// annotations are those of one pod with one prefix.
type annotations struct {
	prefix string
	set    map[string]string
}

func (a annotations) get(key string) string { return a.set[a.prefix+key] }

// warning tells of one of them.
func (a annotations) warning(key, format string, args ...any) string {
	return fmt.Sprintf("annotation %s%s: ", a.prefix, key) + fmt.Sprintf(format, args...)
}

// notAnArray tells of a command that parseCommand takes as a word. The value
// isn't quoted: it may hold a password.
func (a annotations) notAnArray() string {
	return a.warning("command", "begins like a JSON array of strings but isn't one, so all of it is taken as the name of the program")
}

// fromAnnotations returns the hook that a pod's annotations ask for: one or none.
func fromAnnotations(pod Pod, phase string) []Hook {
	prefixes := []string{phase + "." + annotationDomain}
	if phase == Pre {
		prefixes = append(prefixes, annotationDomain)
	}
	for _, prefix := range prefixes {
		a := annotations{prefix: prefix, set: pod.Annotations}
		if strings.TrimSpace(a.get("command")) != "" {
			return []Hook{a.hook(phase)}
		}
	}
	return nil
}

func (a annotations) hook(phase string) Hook {
	h := Hook{Source: a.prefix + "command", Container: a.get("container")}
	warn := func(key, format string, args ...any) {
		h.Warnings = append(h.Warnings, a.warning(key, format, args...))
	}
	var ok bool
	if h.Command, ok = parseCommand(a.get("command")); !ok {
		h.Warnings = append(h.Warnings, a.notAnArray())
	}
	if h.OnError = modeIn(phase, velerov1.HookErrorMode(a.get("on-error"))); !known(h.OnError) {
		warn("on-error", "%q is neither %s nor %s; taken as %[3]s", h.OnError, velerov1.HookErrorModeContinue, velerov1.HookErrorModeFail)
		h.OnError = velerov1.HookErrorModeFail
	}
	var why string
	if h.Timeout, why = parseTimeout(a.get("timeout")); why != "" {
		warn("timeout", "%s; taken as %s", why, h.Timeout)
	}
	return h
}

// parseCommand reads a JSON array of strings or a single word. There is no
// shell. It reports false for an array that can't be read, which is taken as a
// word, as Velero does.
func parseCommand(value string) (command []string, ok bool) {
	value = strings.TrimSpace(value)
	if !strings.HasPrefix(value, "[") {
		return []string{value}, true
	}
	if err := json.Unmarshal([]byte(value), &command); err != nil {
		return []string{value}, false
	}
	return command, true
}

// parseTimeout returns the default for no value and zero, and with a reason for
// values that can't be used.
func parseTimeout(value string) (timeout time.Duration, why string) {
	if value == "" {
		return defaultTimeout, ""
	}
	timeout, err := time.ParseDuration(value)
	switch {
	case err != nil:
		return defaultTimeout, fmt.Sprintf("%q is not a duration such as 90s or 5m", value)
	case timeout < 0:
		return defaultTimeout, fmt.Sprintf("%q is negative", value)
	case timeout == 0:
		return defaultTimeout, ""
	}
	return timeout, ""
}

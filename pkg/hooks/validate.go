package hooks

import (
	"fmt"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// Validate returns what is wrong with the hooks of a backup's spec, one text for
// each problem, each naming the field; nil when nothing is. It needs no cluster.
func Validate(spec velerov1.BackupHooks) []string {
	var problems []string
	for i, written := range spec.Resources {
		field := resourceField(i)
		for _, problem := range filter.Validate(selection(written)) {
			problems = append(problems, field+": "+problem)
		}
		problems = append(problems, validatePhase(field+"."+Pre, written.PreHooks)...)
		problems = append(problems, validatePhase(field+"."+Post, written.PostHooks)...)
	}
	return problems
}

func validatePhase(field string, hooks []velerov1.BackupResourceHook) []string {
	var problems []string
	for i, hook := range hooks {
		field := indexed(field, i) + ".exec"
		if hook.Exec == nil {
			problems = append(problems, field+": is missing; hint: hooks of backups are commands, exec: {command: [...]}")
			continue
		}
		problems = append(problems, validateExec(field, *hook.Exec)...)
	}
	return problems
}

func validateExec(field string, exec velerov1.ExecHook) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, field+fmt.Sprintf(format, args...)) }
	if len(exec.Command) == 0 || exec.Command[0] == "" {
		add(".command: names no program")
	}
	if !known(exec.OnError) && exec.OnError != "" {
		add(".onError: %q is neither %s nor %s", exec.OnError, velerov1.HookErrorModeContinue, velerov1.HookErrorModeFail)
	}
	if exec.Timeout.Duration < 0 {
		add(".timeout: %s is negative; hint: leave it out for %s", exec.Timeout.Duration, defaultTimeout)
	}
	return problems
}

func known(mode velerov1.HookErrorMode) bool {
	return mode == velerov1.HookErrorModeContinue || mode == velerov1.HookErrorModeFail
}

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
	problems := validateCommand(field, exec.Command, exec.OnError)
	if exec.Timeout.Duration < 0 {
		problems = append(problems, fmt.Sprintf("%s.timeout: %s is negative; hint: leave it out for %s", field, exec.Timeout.Duration, defaultTimeout))
	}
	return problems
}

// validateCommand is for what all hooks that are commands share.
func validateCommand(field string, command []string, onError velerov1.HookErrorMode) []string {
	var problems []string
	if len(command) == 0 || command[0] == "" {
		problems = append(problems, field+".command: names no program")
	}
	if !known(onError) && onError != "" {
		problems = append(problems, fmt.Sprintf("%s.onError: %q is neither %s nor %s",
			field, onError, velerov1.HookErrorModeContinue, velerov1.HookErrorModeFail))
	}
	return problems
}

func known(mode velerov1.HookErrorMode) bool {
	return mode == velerov1.HookErrorModeContinue || mode == velerov1.HookErrorModeFail
}

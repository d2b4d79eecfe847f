package hooks

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
)

// ValidateRestore returns what is wrong with the hooks of a restore's spec, one
// text for each problem, each naming the field; nil when nothing is. It needs no
// cluster.
func ValidateRestore(spec velerov1.RestoreHooks) []string {
	var problems []string
	for i, written := range spec.Resources {
		field := resourceField(i)
		for _, problem := range filter.Validate(restoreSelection(written)) {
			problems = append(problems, field+": "+problem)
		}
		for j, hook := range written.PostHooks {
			problems = append(problems, validateRestoreHook(indexed(field+".postHooks", j), hook)...)
		}
	}
	return problems
}

func validateRestoreHook(field string, hook velerov1.RestoreResourceHook) []string {
	var problems []string
	if hook.Exec == nil && hook.Init == nil {
		problems = append(problems, field+": has neither exec nor init; hint: exec: {command: [...]} runs a command, init: {initContainers: [...]} adds containers")
	}
	if hook.Exec != nil {
		problems = append(problems, validatePost(field+".exec", *hook.Exec)...)
	}
	if hook.Init != nil {
		problems = append(problems, validateInit(field+".init", *hook.Init)...)
	}
	return problems
}

func validatePost(field string, exec velerov1.ExecRestoreHook) []string {
	problems := validateCommand(field, exec.Command, exec.OnError)
	for _, timeout := range []struct {
		name  string
		value metav1.Duration
	}{{"execTimeout", exec.ExecTimeout}, {"waitTimeout", exec.WaitTimeout}} {
		if timeout.value.Duration < 0 {
			problems = append(problems, fmt.Sprintf("%s.%s: %s is negative; hint: leave it out for the default", field, timeout.name, timeout.value.Duration))
		}
	}
	return problems
}

func validateInit(field string, hook velerov1.InitRestoreHook) []string {
	if len(hook.InitContainers) == 0 {
		return []string{field + ".initContainers: is empty"}
	}
	var problems []string
	names := map[string]bool{}
	for i, raw := range hook.InitContainers {
		field := indexed(field+".initContainers", i)
		var container corev1.Container // by Kubernetes' rules: case counts
		if err := json.Unmarshal(raw.Raw, &container); err != nil {
			problems = append(problems, fmt.Sprintf("%s: is not a container: %v", field, err))
			continue
		}
		for _, part := range []struct {
			name string
			set  bool
		}{{"name", container.Name != ""}, {"image", container.Image != ""}, {"command", len(container.Command) > 0}} {
			if !part.set {
				problems = append(problems, fmt.Sprintf("%s.%s: is missing", field, part.name))
			}
		}
		if names[container.Name] {
			problems = append(problems, fmt.Sprintf("%s.name: %q is the name of another init container, too", field, container.Name))
		}
		names[container.Name] = container.Name != ""
	}
	return problems
}

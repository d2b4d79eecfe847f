package restore

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// request is what a Restore asks for, parsed.
type request struct {
	selection        filter.Spec
	include, exclude []filter.ObjectPattern
	// high and low are the kinds, as written, that come before and after others.
	high, low []string
	modifiers *modifier.Rules
	classes   *modifier.StorageClasses
	images    *modifier.Images
}

// readRequest reads what the Restore asks for and refuses it with every problem
// that it has.
func (o *operation) readRequest(ctx context.Context) error {
	problems := o.parse()
	more, err := o.readModifiers(ctx)
	if err != nil {
		return err
	}
	if problems = append(problems, more...); len(problems) > 0 {
		return &run.Refusal{Problems: problems}
	}
	return o.readPluginConfig(ctx)
}

// parse reads the Restore and returns one text for each problem.
func (o *operation) parse() []string {
	problems := validateSpec(o.restore.Spec)
	o.request = request{selection: filter.OfRestore(o.restore)}
	problems = append(problems, filter.Validate(o.request.selection)...)
	for _, name := range o.request.selection.IncludedResources {
		if filter.NonRestorable(name) {
			problems = append(problems, fmt.Sprintf("includedResources: %s are non-restorable resources", name))
		}
	}
	for _, part := range []struct {
		field, annotation string
		to                *[]filter.ObjectPattern
	}{
		{"include-objects", velerov1.IncludeObjectsAnnotation, &o.request.include},
		{"exclude-objects", velerov1.ExcludeObjectsAnnotation, &o.request.exclude},
	} {
		patterns, err := filter.ParseObjects(part.field, velerov1.AnnotatedList(o.restore, part.annotation))
		problems = append(problems, run.Problems(err)...)
		*part.to = patterns
	}
	problems = append(problems, o.parsePriorities()...)
	return append(problems, o.parseRetryFor()...)
}

// validateSpec returns one text for each thing that is wrong with a spec.
func validateSpec(spec velerov1.RestoreSpec) []string {
	var problems []string
	if spec.BackupName == "" && spec.ScheduleName == "" {
		problems = append(problems, "Either a backup or schedule must be specified as a source for the restore, but not both")
	}
	switch spec.ExistingResourcePolicy {
	case "", velerov1.PolicyTypeNone, velerov1.PolicyTypeUpdate, velerov1.PolicyTypeRecreate:
	default:
		problems = append(problems, fmt.Sprintf("existingResourcePolicy: %q is neither none, update nor recreate", spec.ExistingResourcePolicy))
	}
	return append(problems, hooks.ValidateRestore(spec.Hooks)...)
}

// parsePriorities reads which kinds come first and last.
func (o *operation) parsePriorities() []string {
	to := &o.request.high
	for _, name := range velerov1.AnnotatedList(o.restore, velerov1.ResourcePrioritiesAnnotation) {
		switch {
		case name == "-" && to == &o.request.low:
			return []string{`restore-resource-priorities: "-" divides the list once`}
		case name == "-":
			to = &o.request.low
		case name == "":
			return []string{"restore-resource-priorities: a name is empty"}
		default:
			*to = append(*to, name)
		}
	}
	return nil
}

// parseRetryFor reads how long is tried again, unless the configuration says it.
func (o *operation) parseRetryFor() []string {
	if o.RetryFor > 0 {
		return nil
	}
	o.RetryFor = time.Minute
	text := o.restore.Annotations[velerov1.RetryForAnnotation]
	if text == "" {
		return nil
	}
	duration, err := time.ParseDuration(text)
	if err != nil || duration < 0 {
		return []string{fmt.Sprintf("retry-for: %q is no duration such as 60s", text)}
	}
	o.RetryFor = duration
	return nil
}

// readModifiers reads the resource modifiers that the Restore names.
func (o *operation) readModifiers(ctx context.Context) ([]string, error) {
	from := o.restore.Spec.ResourceModifier
	if from == nil {
		return nil, nil
	}
	if !strings.EqualFold(from.Kind, "configmap") {
		return []string{fmt.Sprintf("resourceModifier.kind: %q must be ConfigMap", from.Kind)}, nil
	}
	config, err := o.Kube.CoreV1().ConfigMaps(o.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return []string{fmt.Sprintf("resourceModifier.name: there is no ConfigMap %q in namespace %q", from.Name, o.Namespace)}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read resource modifiers %q: %w", from.Name, err)
	}
	o.request.modifiers, err = modifier.FromConfigMap(config)
	var problems []string
	for _, text := range run.Problems(err) {
		problems = append(problems, "resourceModifier: "+text)
	}
	for _, text := range o.request.modifiers.Warnings() {
		o.warn("resourceModifier: " + text)
	}
	return problems, nil
}

// readPluginConfig reads the ConfigMaps with which an administrator changes
// storage classes and images of every restore.
func (o *operation) readPluginConfig(ctx context.Context) error {
	configs, err := o.Kube.CoreV1().ConfigMaps(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: velerov1.PluginConfigLabel})
	if apierrors.IsForbidden(err) {
		o.warn(fmt.Sprintf("ConfigMaps that change storage classes or images were not looked for: %v; hint: let the restore's role list configmaps in namespace %q", err, o.Namespace))
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the ConfigMaps that change restored objects: %w", err)
	}
	if o.request.classes, err = modifier.StorageClassesFrom(configs.Items); err != nil {
		return &run.Refusal{Problems: run.Problems(err)}
	}
	if o.request.images, err = modifier.ImagesFrom(configs.Items); err != nil {
		return &run.Refusal{Problems: run.Problems(err)}
	}
	for _, text := range o.request.images.Warnings() {
		o.warn(text)
	}
	return nil
}

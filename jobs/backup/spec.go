package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// request is what a Backup asks for, parsed.
type request struct {
	selection        filter.Spec
	include, exclude []filter.ObjectPattern
	ordered          map[string][]place // by the name of the kind as written
	policies         *policy.Policies
}

// parse reads what the Backup asks for and returns every problem of it.
func (o *operation) parse(ctx context.Context) (request, []string, error) {
	spec := o.backup.Spec
	r := request{selection: filter.OfBackup(spec)}
	problems := filter.Validate(r.selection)
	problems = append(problems, unsupported(spec)...)
	problems = append(problems, hooks.Validate(spec.Hooks)...)
	for _, part := range []struct {
		field, annotation string
		to                *[]filter.ObjectPattern
	}{
		{"include-objects", velerov1.IncludeObjectsAnnotation, &r.include},
		{"exclude-objects", velerov1.ExcludeObjectsAnnotation, &r.exclude},
	} {
		patterns, err := filter.ParseObjects(part.field, velerov1.AnnotatedList(o.backup, part.annotation))
		problems = append(problems, run.Problems(err)...)
		*part.to = patterns
	}
	var err error
	r.ordered, err = parseOrdered(spec.OrderedResources)
	problems = append(problems, run.Problems(err)...)
	policies, policyProblems, err := o.readPolicies(ctx)
	if err != nil {
		return r, nil, err
	}
	r.policies = policies
	problems = append(problems, policyProblems...)
	return r, append(problems, policies.Conflicts(r.selection)...), nil
}

func split(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// parseOrdered reads "pods": "ns1/a,ns1/b".
func parseOrdered(spec map[string]string) (map[string][]place, error) {
	ordered := map[string][]place{}
	var problems []error
	for _, kind := range slices.Sorted(maps.Keys(spec)) {
		for _, item := range split(spec[kind]) {
			item = strings.TrimSpace(item)
			namespace, name, namespaced := strings.Cut(item, "/")
			if !namespaced {
				namespace, name = "", item
			}
			if name == "" || strings.Contains(name, "/") {
				problems = append(problems, fmt.Errorf("orderedResources[%s]: %q is neither NAMESPACE/NAME nor NAME", kind, item))
				continue
			}
			ordered[kind] = append(ordered[kind], place{namespace, name})
		}
	}
	return ordered, errors.Join(problems...)
}

// readPolicies reads the ConfigMap that the Backup names; nil when it names none.
func (o *operation) readPolicies(ctx context.Context) (*policy.Policies, []string, error) {
	from := o.backup.Spec.ResourcePolicy
	if from == nil {
		return nil, nil, nil
	}
	if !strings.EqualFold(from.Kind, "configmap") {
		return nil, []string{fmt.Sprintf("resourcePolicy.kind: %q must be ConfigMap", from.Kind)}, nil
	}
	config, err := o.Kube.CoreV1().ConfigMaps(o.Namespace).Get(ctx, from.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, []string{fmt.Sprintf("resourcePolicy.name: there is no ConfigMap %q in namespace %q", from.Name, o.Namespace)}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read resource policies %q: %w", from.Name, err)
	}
	policies, err := policy.FromConfigMap(config)
	if err != nil {
		return nil, prefixed("resourcePolicy: ", run.Problems(err)), nil
	}
	return policies, nil, nil
}

func prefixed(prefix string, list []string) []string {
	for i := range list {
		list[i] = prefix + list[i]
	}
	return list
}

// resolve turns the names in the request into what the cluster serves.
func (o *operation) resolve(p *plan, resources *cluster.Resources) error {
	scope := func(name string) (schema.GroupResource, bool, bool) { return scopeOf(resources, name) }
	var err error
	if p.filter, err = filter.NewScoped(o.request.policies.MergeInto(o.request.selection, scope), scope); err != nil {
		return &run.Refusal{Problems: run.Problems(err)}
	}
	if p.objects, err = filter.NewObjects(o.request.include, o.request.exclude, scope); err != nil {
		return &run.Refusal{Problems: run.Problems(err)}
	}
	for _, text := range slices.Concat(p.filter.Unknown(), p.filter.WrongScope(), o.request.policies.Warnings(), o.request.policies.WrongScope(scope)) {
		o.report.Add(report.Warning, ref.Object{}, errors.New(text))
	}
	if o.hooks, err = hooks.New(o.backup.Spec.Hooks, resources.Resolve); err != nil {
		return &run.Refusal{Problems: run.Problems(err)}
	}
	p.ordered = map[schema.GroupResource][]place{}
	for name, places := range o.request.ordered {
		gr, known := resources.Resolve(name)
		if !known {
			o.report.Add(report.Warning, ref.Object{}, fmt.Errorf("orderedResources: the cluster serves no kind %q", name))
			continue
		}
		p.ordered[gr] = places
	}
	return nil
}

func scopeOf(resources *cluster.Resources, name string) (gr schema.GroupResource, namespaced, known bool) {
	gr, known = resources.Resolve(name)
	if !known {
		return gr, false, false
	}
	res, known := resources.Lookup(gr)
	return gr, res.Namespaced, known
}

// unsupported names every part of the spec that this version would have to
// pass over: a backup that silently does less than it was asked for is worse
// than none.
func unsupported(spec velerov1.BackupSpec) []string {
	var problems []string
	for _, part := range []struct {
		field string
		set   bool
	}{
		{"snapshotMoveData", isTrue(spec.SnapshotMoveData)},
		{"defaultVolumesToFsBackup", isTrue(spec.DefaultVolumesToFsBackup)},
	} {
		if part.set {
			problems = append(problems, part.field+": this version can't do that yet; leave the field out")
		}
	}
	return problems
}

func isTrue(b *bool) bool { return b != nil && *b }

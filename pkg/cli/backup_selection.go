package cli

import (
	"context"
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/policy"
)

// checkSelection compares what is to be backed up with what the cluster has: an
// error for what the Job would refuse, a warning for what would have no effect.
func (s *session) checkSelection(ctx context.Context, annotations map[string]string, spec *velerov1.BackupSpec) error {
	if err := s.mustExist(ctx, spec.IncludedNamespaces); err != nil {
		return err
	}
	policies, err := s.policies(ctx, spec)
	if err != nil {
		return err
	}
	include, err := objectPatterns(annotations, velerov1.IncludeObjectsAnnotation)
	if err != nil {
		return err
	}
	exclude, err := objectPatterns(annotations, velerov1.ExcludeObjectsAnnotation)
	if err != nil {
		return err
	}
	if len(include)+len(exclude) == 0 && !namesKinds(spec) && !policies.HasFilters() {
		return nil
	}
	resources, err := cluster.Discover(s.kube.Discovery())
	if err != nil {
		return s.explain("look up the cluster's kinds", err)
	}
	if len(resources.Failed) > 0 {
		// Names may be right although they aren't known now; the Job asks again.
		return nil
	}
	resolve := scopeResolver(resources)
	if _, err = filter.NewObjects(include, exclude, resolve); err != nil {
		return errors.New(objectFlags.Replace(err.Error()))
	}
	return s.warnOfKinds(filter.OfBackup(*spec), policies, resolve)
}

// namesKinds reports whether any list of kinds has an entry.
func namesKinds(spec *velerov1.BackupSpec) bool {
	return len(spec.IncludedResources)+len(spec.ExcludedResources)+
		len(spec.IncludedClusterScopedResources)+len(spec.ExcludedClusterScopedResources)+
		len(spec.IncludedNamespaceScopedResources)+len(spec.ExcludedNamespaceScopedResources) > 0
}

func scopeResolver(resources *cluster.Resources) filter.ScopeResolver {
	return func(name string) (schema.GroupResource, bool, bool) {
		gr, ok := resources.Resolve(name)
		res, _ := resources.Lookup(gr)
		return gr, res.Namespaced, ok
	}
}

// objectFlags turns the names of lists of objects into those of flags.
var objectFlags = strings.NewReplacer("include-objects: ", "--include-objects: ", "exclude-objects: ", "--exclude-objects: ")

func objectPatterns(annotations map[string]string, key string) ([]filter.ObjectPattern, error) {
	if annotations[key] == "" {
		return nil, nil
	}
	return filter.ParseObjects("annotation "+key, strings.Split(annotations[key], ","))
}

// warnOfKinds tells of names that select or leave out nothing.
func (s *session) warnOfKinds(spec filter.Spec, policies *policy.Policies, resolve filter.ScopeResolver) error {
	chosen, err := filter.NewScoped(spec, resolve)
	if err != nil {
		return errors.New(flagNames.Replace(err.Error()))
	}
	for _, text := range append(chosen.Unknown(), chosen.WrongScope()...) {
		s.warn("%s", flagNames.Replace(text))
	}
	for _, text := range policies.WrongScope(resolve) {
		s.warn("resource policies: %s", text)
	}
	return nil
}

// policies reads the resource policies that spec names; nil when it names none.
// Everything that is wrong with them is told at once.
func (s *session) policies(ctx context.Context, spec *velerov1.BackupSpec) (*policy.Policies, error) {
	if spec.ResourcePolicy == nil {
		return nil, nil
	}
	const what = "resource policies"
	cm, err := s.ruleMap(ctx, what, spec.ResourcePolicy.Name)
	if err != nil {
		return nil, err
	}
	policies, err := policy.FromConfigMap(cm)
	if err != nil {
		return nil, unusable(what, err)
	}
	if conflicts := policies.Conflicts(filter.OfBackup(*spec)); len(conflicts) > 0 {
		return nil, errors.New(flagNames.Replace(strings.Join(conflicts, "; ")))
	}
	for _, text := range policies.Warnings() {
		s.warn("ConfigMap %q: %s", cm.Name, text)
	}
	return policies, nil
}

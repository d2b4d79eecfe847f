package cli

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/modifier"
)

// checkRestoredKinds compares the kinds that a restore names with those of the
// cluster: an error for what the Job would refuse, a warning for what may have
// no effect.
func (s *session) checkRestoredKinds(ctx context.Context, restore *velerov1.Restore) error {
	include, err := objectPatterns(restore.Annotations, velerov1.IncludeObjectsAnnotation)
	if err != nil {
		return err
	}
	exclude, err := objectPatterns(restore.Annotations, velerov1.ExcludeObjectsAnnotation)
	if err != nil {
		return err
	}
	names := kindsOf(restore, append(slices.Clone(include), exclude...))
	if len(names) == 0 {
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
	unknown := func(kind string) bool { _, _, ok := resolve(kind); return !ok }
	s.warnOfUnserved(slices.DeleteFunc(names, func(name string) bool { return !unknown(name) }))
	// The scope of a kind that the restore itself brings isn't known before.
	unserved := func(p filter.ObjectPattern) bool { return unknown(p.Kind) }
	if _, err := filter.NewObjects(slices.DeleteFunc(include, unserved), slices.DeleteFunc(exclude, unserved), resolve); err != nil {
		return errors.New(objectFlags.Replace(err.Error()))
	}
	chosen, err := filter.NewScoped(filter.OfRestore(restore), resolve)
	if err != nil {
		return errors.New(flagNames.Replace(err.Error()))
	}
	for _, text := range chosen.WrongScope() {
		s.warn("%s", flagNames.Replace(text))
	}
	return nil
}

// kindsOf are the kinds that a restore names without a pattern, each once.
func kindsOf(restore *velerov1.Restore, objects []filter.ObjectPattern) []string {
	spec := filter.OfRestore(restore)
	names := slices.Concat(spec.IncludedResources, spec.ExcludedResources,
		spec.IncludedClusterScopedResources, spec.ExcludedClusterScopedResources,
		spec.IncludedNamespaceScopedResources, spec.ExcludedNamespaceScopedResources)
	if status := restore.Spec.RestoreStatus; status != nil {
		names = slices.Concat(names, status.IncludedResources, status.ExcludedResources)
	}
	for _, object := range objects {
		names = append(names, object.Kind)
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), filter.IsPattern)
}

// warnOfUnserved tells of kinds that the cluster doesn't know, which the restore
// may bring.
func (s *session) warnOfUnserved(names []string) {
	for _, name := range names {
		s.warn("the cluster serves no kind %q: its objects come back only if its definition is in the backup, too; hint: kubectl api-resources lists the kinds that there are", name)
	}
}

// checkModifier reads the resource modifiers that a restore names.
func (s *session) checkModifier(ctx context.Context, from *corev1.TypedLocalObjectReference) error {
	if from == nil {
		return nil
	}
	const what = "resource modifiers"
	cm, err := s.ruleMap(ctx, what, from.Name)
	if err != nil {
		return err
	}
	rules, err := modifier.FromConfigMap(cm)
	if err != nil {
		return unusable(what, err)
	}
	for _, text := range rules.Warnings() {
		s.warn("ConfigMap %q: %s", cm.Name, text)
	}
	return nil
}

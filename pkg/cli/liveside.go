package cli

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
)

// liveSide is the cluster as it is now, as far as a backup is about it.
type liveSide struct {
	lister *cluster.Lister
	warn   func(string, ...any)
	// everywhere says that the backup was one of all namespaces but excluded.
	everywhere bool
	excluded   []string
	// selectors are those of the backup: an object that matches none of them
	// wasn't to be in it. names says that it chose objects by name.
	selectors []labels.Selector
	names     bool

	kinds  map[string]*liveKind   // by resource
	backup map[objectKey]struct{} // what the backup holds
}

// liveKind is a kind that the backup holds.
type liveKind struct {
	resource   cluster.Resource
	namespaces map[string]bool
}

// newLiveSide is the cluster beside the backup of that name, or beside a file.
func (s *session) newLiveSide(ctx context.Context, names []string) (*liveSide, error) {
	lister, err := cluster.NewLister(s.config)
	if err != nil {
		return nil, err
	}
	l := &liveSide{lister: lister, warn: s.warn, kinds: map[string]*liveKind{}, backup: map[objectKey]struct{}{}}
	if len(names) == 0 {
		return l, nil
	}
	b, err := s.velero.Backups(s.namespace).Get(ctx, names[0], metav1.GetOptions{})
	if err != nil {
		return nil, s.notFound(backupNoun, names[0], err)
	}
	return l, l.scope(b)
}

// scope learns what the backup was to hold.
func (l *liveSide) scope(b *velerov1.Backup) error {
	included := b.Spec.IncludedNamespaces
	l.everywhere = len(included) == 0 || slices.Contains(included, "*")
	l.excluded = b.Spec.ExcludedNamespaces
	l.names = b.Annotations[velerov1.IncludeObjectsAnnotation]+b.Annotations[velerov1.ExcludeObjectsAnnotation] != ""
	selectors := b.Spec.OrLabelSelectors
	if b.Spec.LabelSelector != nil {
		selectors = append([]*metav1.LabelSelector{b.Spec.LabelSelector}, selectors...)
	}
	for _, selector := range selectors {
		parsed, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return fmt.Errorf("read the selector of backup %q: %w", b.Name, err)
		}
		l.selectors = append(l.selectors, parsed)
	}
	return nil
}

// expect is told of every object in the backup.
func (l *liveSide) expect(key objectKey, body []byte) {
	l.backup[key] = struct{}{}
	kind := l.kinds[key.resource]
	if kind == nil {
		id, err := identify(body)
		gv, versionErr := schema.ParseGroupVersion(id.APIVersion)
		if err != nil || versionErr != nil {
			return
		}
		gr := schema.ParseGroupResource(key.resource)
		kind = &liveKind{namespaces: map[string]bool{}, resource: cluster.Resource{
			GroupVersionResource: gr.WithVersion(gv.Version), Kind: id.Kind, Namespaced: key.namespace != "",
		}}
		l.kinds[key.resource] = kind
	}
	kind.namespaces[key.namespace] = true
}

func (l *liveSide) what() string { return "the cluster" }

func (l *liveSide) scan(ctx context.Context, visit func(objectKey, []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(l.kinds)) {
		kind := l.kinds[name]
		namespaces := slices.Sorted(maps.Keys(kind.namespaces))
		if l.everywhere {
			namespaces = []string{""}
		}
		for _, namespace := range namespaces {
			if err := l.list(ctx, name, kind.resource, namespace, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *liveSide) list(ctx context.Context, name string, resource cluster.Resource, namespace string, visit func(objectKey, []byte) error) error {
	var body []byte
	err := l.lister.List(ctx, resource, cluster.ListOptions{Namespace: namespace}, func(o cluster.Object) error {
		key := objectKey{name, o.Namespace, o.Name}
		if !l.concerns(key, o) {
			return nil
		}
		body = o.AppendJSON(body[:0])
		return visit(key, body)
	})
	if apierrors.IsNotFound(err) {
		l.warn("%s in version %q: %v", name, resource.Version, errNotServed)
		return nil
	}
	return err
}

// concerns reports whether an object of the cluster is compared: one that is in
// the backup, or could be if it had been there.
func (l *liveSide) concerns(key objectKey, o cluster.Object) bool {
	if _, ok := l.backup[key]; ok {
		return true
	}
	switch {
	case o.Deleting, l.names, o.Labels[velerov1.ExcludeFromBackupLabel] == "true":
		return false
	case key.namespace == "" && !l.everywhere:
		return false // others than those that the backup needed don't belong to it
	case slices.ContainsFunc(l.excluded, func(pattern string) bool { match, _ := path.Match(pattern, key.namespace); return match }):
		return false
	}
	return len(l.selectors) == 0 || slices.ContainsFunc(l.selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(o.Labels)) })
}

func (l *liveSide) bodies(ctx context.Context, keys map[objectKey]bool, visit func(objectKey, []byte) error) error {
	for key := range keys {
		err := l.lister.Get(ctx, l.kinds[key.resource].resource, key.namespace, key.name, func(o cluster.Object) error {
			return visit(key, o.AppendJSON(nil))
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

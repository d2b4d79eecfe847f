package filter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// list is a pair of include and exclude patterns.
type list struct {
	included, excluded []glob.Glob
	all                bool // nothing or "*" is included
	partial            bool // something that can exist is excluded
}

// resolver turns a name as typed into the name to match, and reports whether
// the name can mean anything here.
type resolver func(name string) (full string, known bool)

func newList(included, excluded []string, resolve resolver) (list, error) {
	l := list{all: len(included) == 0 || slices.Contains(included, "*")}
	for _, name := range included {
		g, _, err := compile(name, resolve)
		if err != nil {
			return list{}, err
		}
		l.included = append(l.included, g)
	}
	for _, name := range excluded {
		g, known, err := compile(name, resolve)
		if err != nil {
			return list{}, err
		}
		l.excluded = append(l.excluded, g)
		l.partial = l.partial || known
	}
	return l, nil
}

func compile(name string, resolve resolver) (g glob.Glob, known bool, err error) {
	known = true
	if !isPattern(name) {
		name, known = resolve(name)
	}
	if g, err = glob.Compile(name); err != nil {
		return nil, false, fmt.Errorf("pattern %q: %w", name, err)
	}
	return g, known, nil
}

func (l list) everything() bool { return l.all && !l.partial }

func (l list) includes(name string) bool { return l.all || matchesAny(l.included, name) }

func (l list) excludes(name string) bool { return matchesAny(l.excluded, name) }

func (l list) matches(name string) bool { return l.includes(name) && !l.excludes(name) }

func matchesAny(globs []glob.Glob, name string) bool {
	return slices.ContainsFunc(globs, func(g glob.Glob) bool { return g.Match(name) })
}

// kinds are the names in one list of kinds that turned out to be a mistake.
type kinds struct {
	unknown, wrongScope []string
}

// scope is what a list of kinds is about.
type scope int

const (
	anyScope scope = iota
	clusterScope
	namespaceScope
)

// otherList names the list of the newer family that a kind of the other scope
// belongs in.
var otherList = map[string]string{
	"includedClusterScopedResources":   "includedNamespaceScopedResources",
	"excludedClusterScopedResources":   "excludedNamespaceScopedResources",
	"includedNamespaceScopedResources": "includedClusterScopedResources",
	"excludedNamespaceScopedResources": "excludedClusterScopedResources",
}

// check notes the names of a list that the cluster doesn't serve or that are of
// the wrong scope. Patterns are left alone: what they are for may come later.
func (k *kinds) check(field string, names []string, want scope, resolve ScopeResolver) {
	effect := "selects"
	if strings.HasPrefix(field, "excluded") {
		effect = "excludes"
	}
	for _, name := range names {
		if isPattern(name) {
			continue
		}
		switch gr, namespaced, ok := resolve(name); {
		case !ok:
			k.unknown = append(k.unknown, fmt.Sprintf("%s: the cluster serves no kind %q, so the name %s nothing; hint: kubectl api-resources lists them", field, name, effect))
		case want == clusterScope && namespaced:
			k.wrongScope = append(k.wrongScope, fmt.Sprintf("%s: %q (%s) is namespaced, so the name %s nothing; hint: use %s", field, name, gr, effect, otherList[field]))
		case want == namespaceScope && !namespaced:
			k.wrongScope = append(k.wrongScope, fmt.Sprintf("%s: %q (%s) is cluster-scoped, so the name %s nothing; hint: use %s", field, name, gr, effect, otherList[field]))
		}
	}
}

// ScopeResolver turns a kind as typed (plural, singular or short name, with or
// without group) into a resource and tells its scope; ok is false for a kind
// that the cluster doesn't serve.
type ScopeResolver = func(name string) (res schema.GroupResource, namespaced, ok bool)

package filter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gobwas/glob"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// objectShape says how a pattern for objects is written.
const objectShape = "write NAMESPACE/KIND/NAME, or KIND/NAME for a cluster-scoped kind, like shop/deploy/web or */secret/db-*"

// ObjectPattern names objects of one kind. Namespace and Name may hold the glob
// characters * ? [ ]; Namespace is empty for a cluster-scoped kind. Kind is as
// typed: plural, singular or short name, with or without group.
type ObjectPattern struct{ Namespace, Kind, Name string }

// String returns the pattern as it is typed.
func (p ObjectPattern) String() string {
	if p.Namespace == "" {
		return p.Kind + "/" + p.Name
	}
	return p.Namespace + "/" + p.Kind + "/" + p.Name
}

// ParseObjects reads patterns of the form [NAMESPACE/]KIND/NAME. It looks at
// the syntax only, so it needs no cluster. The error joins one for each bad
// pattern; each names field, which is how the person who wrote them calls the
// list, the pattern, and how it should look. Spaces around a pattern don't
// count; a pattern that is given twice comes back once.
func ParseObjects(field string, patterns []string) ([]ObjectPattern, error) {
	var parsed []ObjectPattern
	var problems []error
	for _, text := range patterns {
		pattern, why := parseObject(strings.TrimSpace(text))
		switch {
		case why != "":
			problems = append(problems, fmt.Errorf("%s: %q is no pattern for objects: %s", field, text, why))
		case !slices.Contains(parsed, pattern):
			parsed = append(parsed, pattern)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return parsed, nil
}

// parseObject returns a pattern, or why text is none.
func parseObject(text string) (pattern ObjectPattern, why string) {
	parts := strings.Split(text, "/")
	switch len(parts) {
	case 2:
		pattern = ObjectPattern{Kind: parts[0], Name: parts[1]}
	case 3:
		pattern = ObjectPattern{Namespace: parts[0], Kind: parts[1], Name: parts[2]}
		if pattern.Namespace == "" {
			return ObjectPattern{}, "the namespace is empty: " + objectShape
		}
		if why := namespaceProblem(pattern.Namespace); why != "" {
			return ObjectPattern{}, fmt.Sprintf("namespace %q: %s", pattern.Namespace, why)
		}
	default:
		return ObjectPattern{}, objectShape
	}
	if why := objectKindProblem(pattern.Kind); why != "" {
		return ObjectPattern{}, why
	}
	if why := objectNameProblem(pattern.Name); why != "" {
		return ObjectPattern{}, why
	}
	return pattern, ""
}

func objectKindProblem(kind string) string {
	switch {
	case kind == "":
		return "the kind is empty: " + objectShape
	case isPattern(kind):
		return fmt.Sprintf("kind %q: a kind can't be a pattern, name each one", kind)
	case len(validation.IsDNS1123Subdomain(strings.ToLower(kind))) > 0:
		return fmt.Sprintf("kind %q: name it like pods, po or deployments.apps", kind)
	}
	return ""
}

// objectNameProblem allows more than DNS names, since roles and bindings are
// called things like "system:node".
func objectNameProblem(name string) string {
	if name == "" {
		return "the name is empty: " + objectShape + "; * stands for every object"
	}
	if why := globProblem(name); why != "" {
		return fmt.Sprintf("name %q: %s", name, why)
	}
	if strings.ContainsAny(name, " \t\r\n%^") || name == "." || name == ".." {
		return fmt.Sprintf("name %q: no object can have such a name", name)
	}
	return ""
}

// Objects decides about single objects by kind, namespace and name. Its methods
// are safe for concurrent use; a nil *Objects restricts nothing.
type Objects struct {
	included, excluded map[schema.GroupResource]*objectSet
}

// objectSet is what the patterns say about one kind.
type objectSet struct {
	literals map[types.NamespacedName]struct{}
	globs    []objectGlob
}

type objectGlob struct {
	namespace, name glob.Glob
	// prefix is what every "namespace/name" that matches begins with.
	prefix string
}

// NewObjects prepares patterns to be asked. resolve turns a kind as typed into
// a resource and tells its scope. The error joins one for each pattern with a
// kind that resolve doesn't know, with a namespace for a cluster-scoped kind,
// or without one for a namespaced kind. Without any pattern it returns nil,
// which restricts nothing.
func NewObjects(include, exclude []ObjectPattern, resolve func(string) (res schema.GroupResource, namespaced, ok bool)) (*Objects, error) {
	if len(include)+len(exclude) == 0 {
		return nil, nil
	}
	included, includedErr := newObjectSets("include-objects", include, resolve)
	excluded, excludedErr := newObjectSets("exclude-objects", exclude, resolve)
	if err := errors.Join(includedErr, excludedErr); err != nil {
		return nil, err
	}
	return &Objects{included: included, excluded: excluded}, nil
}

func newObjectSets(field string, patterns []ObjectPattern, resolve func(string) (schema.GroupResource, bool, bool)) (map[schema.GroupResource]*objectSet, error) {
	sets := map[schema.GroupResource]*objectSet{}
	var problems []error
	for _, pattern := range patterns {
		gr, err := resolveObject(pattern, resolve)
		if err == nil {
			if sets[gr] == nil {
				sets[gr] = &objectSet{literals: map[types.NamespacedName]struct{}{}}
			}
			err = sets[gr].add(pattern)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %q: %w", field, pattern, err))
		}
	}
	return sets, errors.Join(problems...)
}

func resolveObject(pattern ObjectPattern, resolve func(string) (schema.GroupResource, bool, bool)) (schema.GroupResource, error) {
	gr, namespaced, ok := resolve(pattern.Kind)
	switch {
	case !ok:
		return gr, fmt.Errorf("the cluster serves no kind %q; hint: kubectl api-resources lists them", pattern.Kind)
	case namespaced && pattern.Namespace == "":
		return gr, fmt.Errorf("%s are namespaced: write NAMESPACE/%s, or */%s for every namespace", gr, pattern, pattern)
	case !namespaced && pattern.Namespace != "":
		return gr, fmt.Errorf("%s are cluster-scoped: write %s/%s", gr, pattern.Kind, pattern.Name)
	}
	return gr, nil
}

func (s *objectSet) add(pattern ObjectPattern) error {
	if !isPattern(pattern.Namespace) && !isPattern(pattern.Name) {
		s.literals[types.NamespacedName{Namespace: pattern.Namespace, Name: pattern.Name}] = struct{}{}
		return nil
	}
	namespace, err := glob.Compile(pattern.Namespace)
	if err != nil {
		return fmt.Errorf("namespace %q: %w", pattern.Namespace, err)
	}
	name, err := glob.Compile(pattern.Name)
	if err != nil {
		return fmt.Errorf("name %q: %w", pattern.Name, err)
	}
	s.globs = append(s.globs, objectGlob{namespace: namespace, name: name, prefix: literalPrefix(pattern)})
	return nil
}

// literalPrefix is the part of a pattern before its first glob.
func literalPrefix(pattern ObjectPattern) string {
	whole := strings.TrimPrefix(pattern.Namespace+"/"+pattern.Name, "/")
	if at := strings.IndexAny(whole, `*?[\{`); at >= 0 {
		return whole[:at]
	}
	return whole
}

func (s *objectSet) matches(namespace, name string) bool {
	if s == nil {
		return false
	}
	if _, ok := s.literals[types.NamespacedName{Namespace: namespace, Name: name}]; ok {
		return true
	}
	return slices.ContainsFunc(s.globs, func(g objectGlob) bool { return g.namespace.Match(namespace) && g.name.Match(name) })
}

// touches reports whether a pattern is about the namespace.
func (s *objectSet) touches(namespace string) bool {
	if s == nil {
		return false
	}
	for place := range s.literals {
		if place.Namespace == namespace {
			return true
		}
	}
	return slices.ContainsFunc(s.globs, func(g objectGlob) bool { return g.namespace.Match(namespace) })
}

// Includes reports whether the object matches an include pattern, or there are
// none. It doesn't look at the exclude patterns.
func (o *Objects) Includes(gr schema.GroupResource, namespace, name string) bool {
	return !o.AnyIncluded() || o.included[gr].matches(namespace, name)
}

// Excludes reports whether the object matches an exclude pattern, which beats
// every include pattern.
func (o *Objects) Excludes(gr schema.GroupResource, namespace, name string) bool {
	return o != nil && o.excluded[gr].matches(namespace, name)
}

// AnyIncluded reports whether there are include patterns, so that only what
// they match is wanted.
func (o *Objects) AnyIncluded() bool { return o != nil && len(o.included) > 0 }

// Kind reports whether an object of the kind can be included; a kind that
// can't needs no list.
func (o *Objects) Kind(gr schema.GroupResource) bool {
	return !o.AnyIncluded() || o.included[gr] != nil
}

// Namespace reports whether an object of the kind in this namespace can be
// included; a namespace where none can needs no list. The namespace of a
// cluster-scoped kind is empty.
func (o *Objects) Namespace(gr schema.GroupResource, namespace string) bool {
	return !o.AnyIncluded() || o.included[gr].touches(namespace)
}

// Literal returns, in order, the only objects of the kind that can be included,
// when the include patterns name each without globs, so that they can be read
// one by one: all is true then. It is false when a list is needed.
func (o *Objects) Literal(gr schema.GroupResource) (names []types.NamespacedName, all bool) {
	if !o.AnyIncluded() {
		return nil, false
	}
	set := o.included[gr]
	if set == nil {
		return nil, true
	}
	if len(set.globs) > 0 {
		return nil, false
	}
	for name := range set.literals {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return names, true
}

// Between reports whether an object of the kind can be included whose
// "namespace/name", or name when it is cluster-scoped, is one of first to last in
// byte order.
func (o *Objects) Between(gr schema.GroupResource, first, last string) bool {
	if !o.AnyIncluded() {
		return true
	}
	set := o.included[gr]
	if set == nil {
		return false
	}
	for place := range set.literals {
		key := strings.TrimPrefix(place.String(), "/")
		if first <= key && key <= last {
			return true
		}
	}
	return slices.ContainsFunc(set.globs, func(g objectGlob) bool {
		// The keys that begin with a prefix are neighbours.
		return g.prefix <= last && (first <= g.prefix || strings.HasPrefix(first, g.prefix))
	})
}

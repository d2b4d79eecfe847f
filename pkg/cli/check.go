package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/filter"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

// checkName refuses names that the API server would refuse.
func checkName(noun, name string) error {
	if problems := validation.NameIsDNSSubdomain(name, false); len(problems) > 0 {
		return fmt.Errorf("%q is not a name for a %s; hint: use lower case letters, digits, \"-\" and \".\", and at most 253 of them", name, noun)
	}
	return nil
}

func checkLabels(labels map[string]string) error {
	if problems := metav1validation.ValidateLabels(labels, field.NewPath("--labels")); len(problems) > 0 {
		return fmt.Errorf("%w", problems.ToAggregate())
	}
	return nil
}

func checkAnnotations(annotations map[string]string) error {
	if problems := validation.ValidateAnnotations(annotations, field.NewPath("--annotations")); len(problems) > 0 {
		return fmt.Errorf("%w", problems.ToAggregate())
	}
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, ownAnnotations) {
			return fmt.Errorf("--annotations: %q is kept for this program; hint: flags set what lies below %s", key, ownAnnotations)
		}
	}
	return nil
}

// ownAnnotations begins the keys whose values this program relies on.
const ownAnnotations = "kubectl-velero.io/"

// flagNames says how the fields of a filter are typed.
var flagNames = strings.NewReplacer(
	"includedNamespaces", "--include-namespaces",
	"excludedNamespaces", "--exclude-namespaces",
	"includedResources", "--include-resources",
	"excludedResources", "--exclude-resources",
	"includeClusterResources", "--include-cluster-resources",
	"includedClusterScopedResources", "--include-cluster-scoped-resources",
	"excludedClusterScopedResources", "--exclude-cluster-scoped-resources",
	"includedNamespaceScopedResources", "--include-namespace-scoped-resources",
	"excludedNamespaceScopedResources", "--exclude-namespace-scoped-resources",
	"orLabelSelectors", "--or-selector",
	"labelSelector", "--selector",
	"resourcePolicy: ", "--resource-policies-configmap: ",
)

// checkFilter refuses a selection that contradicts itself.
func checkFilter(spec filter.Spec) error {
	if problems := filter.Validate(spec); len(problems) > 0 {
		return fmt.Errorf("%s", flagNames.Replace(strings.Join(problems, "; ")))
	}
	return nil
}

// permission is a verb on a resource, or RESOURCE/SUBRESOURCE, that a command can't
// do without.
type permission struct {
	verb, group, resource string
	clusterScoped         bool
}

func (p permission) String() string {
	if p.group == "" {
		return p.verb + " " + p.resource
	}
	return p.verb + " " + p.resource + "." + p.group
}

// mustBeAllowed finds out all that is missing before anything is done, so that
// it can be asked for at once. When the question itself fails, the request that
// needs the permission tells.
func (s *session) mustBeAllowed(ctx context.Context, needed ...permission) error {
	missing := make([]bool, len(needed))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range needed {
		group.Go(func() error {
			allowed, err := s.allowed(ctx, p)
			missing[i] = err == nil && !allowed
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return s.explain("check permissions", err)
	}
	var texts []string
	for i, p := range needed {
		if missing[i] {
			texts = append(texts, p.String())
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return fmt.Errorf("no permission in namespace %q to %s; hint: ask for it, or use credentials that have it (--context, --as)",
		s.namespace, strings.Join(texts, ", "))
}

func (s *session) allowed(ctx context.Context, p permission) (bool, error) {
	resource, subresource, _ := strings.Cut(p.resource, "/")
	attributes := &authorizationv1.ResourceAttributes{Verb: p.verb, Group: p.group, Resource: resource, Subresource: subresource}
	if !p.clusterScoped {
		attributes.Namespace = s.namespace
	}
	review, err := s.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// mustHaveNoServer refuses while a Velero server runs in the namespace: it
// would work on the same objects.
func (s *session) mustHaveNoServer(ctx context.Context) error {
	err := install.FindServer(ctx, s.kube, s.namespace)
	if server := (*install.ServerError)(nil); err == nil || errors.As(err, &server) {
		return err
	}
	return s.explain("look for a Velero server", err)
}

// mustExist refuses names of namespaces that don't exist. Patterns are left
// alone, and so is everything when namespaces may not be read.
func (s *session) mustExist(ctx context.Context, names []string) error {
	missing := make([]bool, len(names))
	const parallel = 8
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, name := range names {
		if filter.IsPattern(name) {
			continue
		}
		group.Go(func() error {
			_, err := s.kube.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			missing[i] = apierrors.IsNotFound(err)
			if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return s.explain("look up the namespaces", err)
	}
	var quoted []string
	for i, name := range names {
		if missing[i] {
			quoted = append(quoted, fmt.Sprintf("%q", name))
		}
	}
	switch len(quoted) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("namespace %s does not exist; hint: `kubectl get namespaces` lists those that do", quoted[0])
	}
	return fmt.Errorf("namespaces %s do not exist; hint: `kubectl get namespaces` lists those that do", strings.Join(quoted, ", "))
}

// location finds the storage location of that name, or the default one for an
// empty name.
func (s *session) location(ctx context.Context, name string) (*velerov1.BackupStorageLocation, error) {
	list, err := s.velero.BackupStorageLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain("list storage locations", err)
	}
	if len(list.Items) == 0 {
		return nil, fmt.Errorf("namespace %q has no storage location; hint: `%s backup-location create` makes one", s.namespace, s.name)
	}
	return chooseLocation(list.Items, name)
}

// takenTo reads the storage location that something was written to: the name of one
// that is gone stays in what refers to it.
func (s *session) takenTo(ctx context.Context, name string) (*velerov1.BackupStorageLocation, error) {
	list, err := s.velero.BackupStorageLocations(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, s.explain("list storage locations", err)
	}
	for i := range list.Items {
		if list.Items[i].Name == name {
			return &list.Items[i], nil
		}
	}
	return nil, fmt.Errorf("storage location %q does not exist any more; "+
		"hint: `%s backup-location create %s` with the same provider, bucket and prefix makes it again", name, s.name, name)
}

func chooseLocation(locations []velerov1.BackupStorageLocation, name string) (*velerov1.BackupStorageLocation, error) {
	var names []string
	var fallback *velerov1.BackupStorageLocation
	for i := range locations {
		l := &locations[i]
		if name != "" && l.Name == name || name == "" && l.Spec.Default {
			return l, nil
		}
		if l.Name == velerov1.DefaultName {
			fallback = l
		}
		names = append(names, l.Name)
	}
	switch {
	case name != "":
		return nil, fmt.Errorf("storage location %q does not exist; hint: there is %s", name, strings.Join(names, ", "))
	case fallback == nil:
		return nil, fmt.Errorf("no storage location is the default one; hint: choose one with --storage-location: %s", strings.Join(names, ", "))
	}
	return fallback, nil
}

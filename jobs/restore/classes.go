package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

var storageClassKind = schema.GroupResource{Group: "storage.k8s.io", Resource: "storageclasses"}

// defaultMarks are the annotations that make a storage class the cluster's default.
var defaultMarks = []string{"storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"}

// classOf is the storage class of a claim; named is false for one that gets the
// cluster's default. The old annotation wins over the field, as in Kubernetes.
func classOf(obj *transform.Object) (class string, named bool, err error) {
	if class := obj.Annotation(corev1.BetaStorageClassAnnotation); class != "" {
		return class, true, nil
	}
	var spec struct{ StorageClassName *string }
	if err := obj.Read("spec", &spec); err != nil || spec.StorageClassName == nil {
		return "", false, err
	}
	return *spec.StorageClassName, true, nil
}

// wrongClass says why the storage class of a claim doesn't make a volume of a driver;
// nil when nothing speaks against it. driver is empty where it isn't known.
func (s *snapshots) wrongClass(ctx context.Context, obj *transform.Object, driver string) error {
	class, named, err := classOf(obj)
	switch {
	case err != nil:
		return err
	case !named:
		return s.wrongDefault(ctx, driver)
	case class == "": // nobody makes a volume by himself
		return nil
	}
	provisioner, err := s.provisioner(ctx, class)
	if err == nil && provisioner != "" && driver != "" && !strings.EqualFold(provisioner, driver) {
		return fmt.Errorf("its snapshot is of CSI driver %q, but its storage class %q is of %q; hint: map the class to one of that driver with a ConfigMap labelled %s",
			driver, class, provisioner, velerov1.ChangeStorageClassLabel)
	}
	return err
}

// wrongDefault is wrongClass for claims that name no class.
func (s *snapshots) wrongDefault(ctx context.Context, driver string) error {
	const wayOut = "hint: make a class of its snapshot's CSI driver the default one, or give the claim a class with a resource modifier"
	class, err := s.defaultClass(ctx)
	switch {
	case errors.Is(err, errNoDefault):
		return fmt.Errorf("it names no storage class, and %w; %s", err, wayOut)
	case err != nil || class.provisioner == "" || driver == "" || strings.EqualFold(class.provisioner, driver):
		return nil // what isn't known is found out by the volume that the claim gets
	}
	return fmt.Errorf("its snapshot is of CSI driver %q, but it names no storage class, and the cluster's default class %q is of %q; %s", driver, class.name, class.provisioner, wayOut)
}

// fillsOthers reports whether somebody other than the driver may make a volume for a
// claim: many provisioners don't look at a snapshot, and make an empty one.
func (s *snapshots) fillsOthers(ctx context.Context, obj *transform.Object, driver string) bool {
	class, named, err := classOf(obj)
	switch {
	case err != nil:
		return true
	case !named:
		found, err := s.defaultClass(ctx)
		return err != nil || !strings.EqualFold(found.provisioner, driver)
	case class == "":
		return false
	}
	provisioner, err := s.provisioner(ctx, class)
	return err == nil && (provisioner == "" || !strings.EqualFold(provisioner, driver))
}

// provisioner looks once for the provisioner of a storage class. It is empty where
// that can't be known: a preview doesn't make the classes of the backup.
func (s *snapshots) provisioner(ctx context.Context, class string) (string, error) {
	return once(&s.mu, s.storage, class, func() (string, error) {
		found, err := s.Kube.StorageV1().StorageClasses().Get(ctx, class, metav1.GetOptions{})
		switch {
		case err == nil:
			return found.Provisioner, nil
		case !apierrors.IsNotFound(err) || s.bringsClasses():
			return "", nil
		}
		return "", noClass(fmt.Sprintf("its storage class %q doesn't exist; hint: make it, or map it to another with a ConfigMap labelled %s", class, velerov1.ChangeStorageClassLabel))
	})
}

// noClass says that the cluster lacks the storage class of a claim. It may still come.
type noClass string

func (n noClass) Error() string { return string(n) }

// forgetClasses has everything about storage classes looked at again.
func (s *snapshots) forgetClasses() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.storage)
	clear(s.defaults)
}

// bringsClasses reports whether this is a preview of a restore that may make storage
// classes.
func (s *snapshots) bringsClasses() bool { return s.preview != nil && s.contents.has(storageClassKind) }

// storageClass is a storage class in short.
type storageClass struct{ name, provisioner string }

// errNoDefault means that claims without a class wait until there is a default one.
var errNoDefault error = noClass("the cluster has no default class")

// defaultClass looks once for the class of claims that name none. Its provisioner is
// empty where that can't be known.
func (s *snapshots) defaultClass(ctx context.Context) (storageClass, error) {
	return once(&s.mu, s.defaults, "", func() (storageClass, error) {
		list, err := s.Kube.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
		if err != nil {
			s.Log.Warn("storage classes can't be listed", "error", err)
			return storageClass{}, nil
		}
		class, ok := newestDefault(list.Items)
		if !ok && !s.bringsClasses() {
			return storageClass{}, errNoDefault
		}
		return class, nil
	})
}

// newestDefault is the one that Kubernetes takes where several classes are the
// default: the newest, then the first by name.
func newestDefault(classes []storagev1.StorageClass) (storageClass, bool) {
	classes = slices.DeleteFunc(slices.Clone(classes), func(c storagev1.StorageClass) bool {
		return !slices.ContainsFunc(defaultMarks, func(mark string) bool { return c.Annotations[mark] == "true" })
	})
	if len(classes) == 0 {
		return storageClass{}, false
	}
	first := slices.MinFunc(classes, func(a, b storagev1.StorageClass) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return storageClass{first.Name, first.Provisioner}, true
}

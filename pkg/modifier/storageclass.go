package modifier

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// StorageClasses maps names of storage classes to others. Its methods are safe
// for concurrent use; nil maps none.
type StorageClasses struct{ classes map[string]string }

// StorageClassesFrom reads the mapping in the ConfigMap that is labelled
// velero.io/change-storage-class: former class to new one. Others may be among
// cms; without the one the mapping is nil. An error is a *ValidationError.
func StorageClassesFrom(cms []corev1.ConfigMap) (*StorageClasses, error) {
	cm, err := labelled(cms, velerov1.ChangeStorageClassLabel)
	if err != nil || cm == nil {
		return nil, err
	}
	c := &StorageClasses{classes: map[string]string{}}
	var problems []string
	for _, from := range slices.Sorted(maps.Keys(cm.Data)) {
		to := strings.TrimSpace(cm.Data[from]) // a file ends with a line break
		if to == "" {
			problems = append(problems, fmt.Sprintf("ConfigMap %q: storage class %q has no new one; hint: give the key a value or remove it", cm.Name, from))
		}
		c.classes[from] = to
	}
	if err := strictyaml.Invalid(problems); err != nil {
		return nil, err
	}
	return c, nil
}

// claims are the kinds whose spec names a class itself.
var claims = []schema.GroupResource{{Resource: "persistentvolumes"}, {Resource: "persistentvolumeclaims"}}

var statefulSets = schema.GroupResource{Group: "apps", Resource: "statefulsets"}

// Applies reports whether objects of a kind name storage classes.
func (c *StorageClasses) Applies(gr schema.GroupResource) bool {
	return c != nil && (gr == statefulSets || slices.Contains(claims, gr))
}

// Apply changes the storage classes in the spec of an object of a kind. It
// returns the new ones, sorted: they must exist, or the object can't be
// restored.
func (c *StorageClasses) Apply(gr schema.GroupResource, spec map[string]any) (changed bool, classes []string) {
	if !c.Applies(gr) {
		return false, nil
	}
	specs := []map[string]any{spec}
	if gr == statefulSets {
		specs = nil
		for _, template := range elements(spec, "volumeClaimTemplates") {
			specs = append(specs, within(template, "spec"))
		}
	}
	for _, claim := range specs {
		from := text(claim, "storageClassName")
		if to, ok := c.classes[from]; ok && to != from {
			claim["storageClassName"] = to
			classes = append(classes, to)
		}
	}
	slices.Sort(classes)
	classes = slices.Compact(classes)
	return len(classes) > 0, classes
}

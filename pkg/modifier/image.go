package modifier

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Images replaces parts of the names of images. Its methods are safe for
// concurrent use; nil replaces none.
type Images struct {
	rows     []row
	warnings []string
}

// row replaces each occurrence of a text.
type row struct{ from, to string }

// ImagesFrom reads the rows in the ConfigMap that is labelled
// velero.io/change-image-name, each "old,new" under any key. Others may be
// among cms; without the one the Images are nil. An error is a *ValidationError.
func ImagesFrom(cms []corev1.ConfigMap) (*Images, error) {
	cm, err := labelled(cms, velerov1.ChangeImageNameLabel)
	if err != nil || cm == nil {
		return nil, err
	}
	images := &Images{}
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		from, to, _ := strings.Cut(cm.Data[key], ",")
		r := row{from: strings.TrimSpace(from), to: strings.TrimSpace(to)}
		// An empty text is in every name, between any two characters.
		if r.from == "" || r.to == "" || strings.Contains(r.to, ",") {
			images.warnings = append(images.warnings, fmt.Sprintf("ConfigMap %q, key %q: the row is passed over; hint: write the old and the new part of the name with one comma between", cm.Name, key))
			continue
		}
		images.rows = append(images.rows, r)
	}
	return images, nil
}

// Warnings returns a text for each row that has no effect.
func (i *Images) Warnings() []string {
	if i == nil {
		return nil
	}
	return slices.Clone(i.warnings)
}

// podSpecs has the kinds that run containers, with where in the object's spec
// that of the pods is.
var podSpecs = map[schema.GroupResource][]string{
	{Resource: "pods"}:                        {},
	{Resource: "replicationcontrollers"}:      {"template", "spec"},
	{Group: "apps", Resource: "daemonsets"}:   {"template", "spec"},
	{Group: "apps", Resource: "deployments"}:  {"template", "spec"},
	{Group: "apps", Resource: "replicasets"}:  {"template", "spec"},
	{Group: "apps", Resource: "statefulsets"}: {"template", "spec"},
	{Group: "batch", Resource: "cronjobs"}:    {"jobTemplate", "spec", "template", "spec"},
	{Group: "batch", Resource: "jobs"}:        {"template", "spec"},
}

// Applies reports whether objects of a kind name images.
func (i *Images) Applies(gr schema.GroupResource) bool {
	_, ok := podSpecs[gr]
	return i != nil && ok
}

// Apply changes the images in the spec of an object of a kind. Of the rows, in
// the order of their keys, the first whose old part is in an image's name counts
// for that image, and replaces each occurrence.
func (i *Images) Apply(gr schema.GroupResource, spec map[string]any) (changed bool) {
	if !i.Applies(gr) {
		return false
	}
	pod := within(spec, podSpecs[gr]...)
	for _, list := range []string{"initContainers", "containers", "ephemeralContainers"} {
		for _, container := range elements(pod, list) {
			image := text(container, "image")
			if renamed := i.rename(image); renamed != image {
				container["image"] = renamed
				changed = true
			}
		}
	}
	return changed
}

func (i *Images) rename(image string) string {
	for _, row := range i.rows {
		if strings.Contains(image, row.from) {
			return strings.ReplaceAll(image, row.from, row.to)
		}
	}
	return image
}

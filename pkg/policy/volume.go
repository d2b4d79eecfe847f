package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Volume is what a policy looks at. PV decides about capacity, class and source
// when it is there, then Pod; PVC has labels and phase, and the class while it
// waits for its PV.
type Volume struct {
	// PV is nil for a volume of a pod alone, and while the claim isn't bound.
	PV *corev1.PersistentVolume
	// PVC is nil for a volume without a claim.
	PVC *corev1.PersistentVolumeClaim
	// Pod is a pod's volume that is no claim, else nil.
	Pod *corev1.Volume
}

// facts are what the conditions ask about.
type facts struct {
	capacity     resource.Quantity // 0 without a PV
	storageClass string
	nfs          *corev1.NFSVolumeSource
	csi          *csiFacts
	types        []string // the source's name, as the field in a PV or pod
	claim        *corev1.PersistentVolumeClaim
}

type csiFacts struct {
	driver     string
	attributes map[string]string
}

func (v Volume) facts() facts {
	f := facts{claim: v.PVC}
	switch {
	case v.PV != nil:
		source := v.PV.Spec.PersistentVolumeSource
		f.capacity = v.PV.Spec.Capacity[corev1.ResourceStorage]
		f.storageClass = v.PV.Spec.StorageClassName
		f.nfs = source.NFS
		if source.CSI != nil {
			f.csi = &csiFacts{driver: source.CSI.Driver, attributes: source.CSI.VolumeAttributes}
		}
		f.types = sourceOf(source)
	case v.Pod != nil:
		source := v.Pod.VolumeSource
		f.nfs = source.NFS
		if source.CSI != nil {
			f.csi = &csiFacts{driver: source.CSI.Driver, attributes: source.CSI.VolumeAttributes}
		}
		f.types = sourceOf(source)
	}
	if v.PV == nil && v.PVC != nil {
		f.storageClass = claimClass(v.PVC)
	}
	return f
}

// claimClass returns the class that an unbound claim asks for: the documented
// way to skip claims of a class that never get a volume needs it.
func claimClass(claim *corev1.PersistentVolumeClaim) string {
	if class := claim.Spec.StorageClassName; class != nil {
		return *class
	}
	return claim.Annotations[corev1.BetaStorageClassAnnotation]
}

// sourceOf returns the name of the field of a volume source that is set. The
// JSON has it without a list of some thirty types that would have to grow with
// Kubernetes.
func sourceOf(source any) []string {
	text, err := json.Marshal(source)
	if err != nil { // a value that came from JSON goes there again
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(fields))
}

// sourceTypes returns every name that a volume source can have, of PVs and of
// pods. A claim is none: its PV has the source.
var sourceTypes = sync.OnceValue(func() []string {
	names := map[string]bool{}
	for _, source := range []reflect.Type{reflect.TypeFor[corev1.PersistentVolumeSource](), reflect.TypeFor[corev1.VolumeSource]()} {
		for i := range source.NumField() {
			name, _, _ := strings.Cut(source.Field(i).Tag.Get("json"), ",")
			names[name] = true
		}
	}
	delete(names, "persistentVolumeClaim")
	return slices.Sorted(maps.Keys(names))
})

func quoteType(name string) string {
	return fmt.Sprintf("%q is no type of volumes, so it matches none; the types are %s", name, strings.Join(sourceTypes(), ", "))
}

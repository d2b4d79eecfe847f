package csi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// class is what choosing one needs to know of a VolumeSnapshotClass or a
// VolumeGroupSnapshotClass.
type class struct {
	name, driver        string
	labels, annotations map[string]string
	policy              snapshotv1.DeletionPolicy // of what is taken by it
}

// classRules say where a class is named. They are Velero's, in its order.
type classRules struct {
	kind string
	// claim is an annotation of the claim; backup and the driver in lower case one
	// of the Backup.
	claim, backup string
	// label marks the class to use, by its presence; annotation the default one.
	label, annotation string
}

func snapshotRules() classRules {
	return classRules{kind: "VolumeSnapshotClass", claim: claimClass, backup: backupClassPrefix, label: classLabel, annotation: defaultClass}
}

func groupRules() classRules {
	return classRules{kind: "VolumeGroupSnapshotClass", claim: claimGroupClass, backup: backupGroupClassPrefix, label: groupClassLabel}
}

// choose returns the name of the class to snapshot a driver's volume by. A class
// that is named but isn't there, or is another driver's, counts as not named.
// Drivers are compared without case.
func (r classRules) choose(driver string, claim, backup metav1.Object, classes []class) (string, error) {
	var fitting []class
	for _, c := range classes {
		if strings.EqualFold(c.driver, driver) {
			fitting = append(fitting, c)
		}
	}
	slices.SortFunc(fitting, func(a, b class) int { return cmp.Compare(a.name, b.name) })
	for _, named := range []string{claim.GetAnnotations()[r.claim], r.ofBackup(backup, driver)} {
		if slices.ContainsFunc(fitting, func(c class) bool { return c.name == named }) {
			return named, nil
		}
	}
	for _, marked := range []func(class) bool{
		func(c class) bool { _, ok := c.labels[r.label]; return ok },
		func(c class) bool { _, ok := c.annotations[r.annotation]; return ok && r.annotation != "" },
	} {
		if i := slices.IndexFunc(fitting, marked); i >= 0 {
			return fitting[i].name, nil
		}
	}
	switch len(fitting) {
	case 1:
		return fitting[0].name, nil
	case 0:
		return "", fmt.Errorf("there is no %s of driver %q; hint: create one%s", r.kind, driver, r.misnamed(driver, claim, backup))
	}
	return "", fmt.Errorf("driver %q has several of kind %s and none is marked (%s); hint: label one of them %s=true%s",
		driver, r.kind, strings.Join(names(fitting), ", "), r.label, r.misnamed(driver, claim, backup))
}

// ofBackup is the class that the Backup names for a driver. The driver is in lower
// case in the annotation, but we are not strict about that.
func (r classRules) ofBackup(backup metav1.Object, driver string) string {
	for _, key := range slices.Sorted(maps.Keys(backup.GetAnnotations())) {
		if strings.EqualFold(key, r.backup+driver) {
			return backup.GetAnnotations()[key]
		}
	}
	return ""
}

// misnamed tells of annotations that name a class which can't be used.
func (r classRules) misnamed(driver string, claim, backup metav1.Object) string {
	for _, named := range []string{claim.GetAnnotations()[r.claim], r.ofBackup(backup, driver)} {
		if named != "" {
			return fmt.Sprintf(" (an annotation names %q, which isn't one of this driver)", named)
		}
	}
	return ""
}

func names(classes []class) []string {
	var all []string
	for _, c := range classes {
		all = append(all, c.name)
	}
	return all
}

// snapshotClasses are the classes as choose sees them.
func snapshotClasses(all []snapshotv1.VolumeSnapshotClass) []class {
	classes := make([]class, 0, len(all))
	for i := range all {
		classes = append(classes, class{name: all[i].Name, driver: all[i].Driver, labels: all[i].Labels, annotations: all[i].Annotations, policy: all[i].DeletionPolicy})
	}
	return classes
}

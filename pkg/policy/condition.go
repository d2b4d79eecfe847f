package policy

import (
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// condition reports whether a policy's condition holds for a volume.
type condition func(facts) bool

var claimPhases = []corev1.PersistentVolumeClaimPhase{corev1.ClaimPending, corev1.ClaimBound, corev1.ClaimLost}

// size is a Quantity that isn't negative, with an exponent of two digits: a
// Quantity like 1e-1000000000 takes minutes to compare.
var size = regexp.MustCompile(`^\+?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$`)

// conditions reads the conditions of one policy. A condition without a value is
// a problem and not no condition: "nfs:" would match every volume there is.
func (d *decoder) conditions(n *node) []condition {
	var all []condition
	add := func(c condition) {
		if c != nil {
			all = append(all, c)
		}
	}
	d.Mapping(n, strictyaml.Fields{
		"capacity":     func(n *node) { add(d.capacity(n)) },
		"storageClass": func(n *node) { add(d.storageClass(n)) },
		"nfs":          func(n *node) { add(d.nfs(n)) },
		"csi":          func(n *node) { add(d.csi(n)) },
		"volumeTypes":  func(n *node) { add(d.volumeTypes(n)) },
		"pvcLabels":    func(n *node) { add(d.pvcLabels(n)) },
		"pvcPhase":     func(n *node) { add(d.pvcPhase(n)) },
	})
	return all
}

// capacity reads "lo,hi": both ends belong to the range, and one that is empty
// or 0 is open.
func (d *decoder) capacity(n *node) condition {
	text, ok := d.Text(n)
	if !ok {
		return nil
	}
	parts := strings.Split(text, ",")
	if len(parts) != 2 {
		d.Problem(n, `%q must be a lower and an upper bound with one comma between; hint: write "10Gi,100Gi", "10Gi," or ",100Gi"`, text)
		return nil
	}
	lower, lowerOK := d.bound(n, parts[0])
	upper, upperOK := d.bound(n, parts[1])
	if !lowerOK || !upperOK {
		return nil
	}
	if !upper.IsZero() && lower.Cmp(upper) > 0 {
		d.Problem(n, "%q: the lower bound is above the upper; hint: exchange them", text)
		return nil
	}
	return func(f facts) bool {
		return f.capacity.Cmp(lower) >= 0 && (upper.IsZero() || f.capacity.Cmp(upper) <= 0)
	}
}

func (d *decoder) bound(n *node, text string) (resource.Quantity, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return resource.Quantity{}, true
	}
	if !size.MatchString(text) {
		d.Problem(n, "%q is no size; hint: write one like 500Mi or 10Gi", text)
		return resource.Quantity{}, false
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		d.Problem(n, "%q is no size: %v; hint: write one like 500Mi or 10Gi", text, err)
		return resource.Quantity{}, false
	}
	return quantity, true
}

// storageClass never holds for a volume without a class.
func (d *decoder) storageClass(n *node) condition {
	classes := d.Texts(n)
	if len(classes) == 0 {
		return nil
	}
	return func(f facts) bool { return f.storageClass != "" && slices.Contains(classes, f.storageClass) }
}

// nfs reads {server, path}; what isn't given may be anything.
func (d *decoder) nfs(n *node) condition {
	var server, path string
	d.Mapping(n, strictyaml.Fields{
		"server": func(n *node) { server, _ = d.Text(n) },
		"path":   func(n *node) { path, _ = d.Text(n) },
	})
	return func(f facts) bool {
		return f.nfs != nil && (server == "" || server == f.nfs.Server) && (path == "" || path == f.nfs.Path)
	}
}

// csi reads {driver, volumeAttributes}; an empty mapping holds for any CSI
// volume.
func (d *decoder) csi(n *node) condition {
	var driver string
	var attributes map[string]string
	var attributesNode *node
	d.Mapping(n, strictyaml.Fields{
		"driver":           func(n *node) { driver, _ = d.Text(n) },
		"volumeAttributes": func(n *node) { attributes, attributesNode = d.TextMap(n), n },
	})
	if len(attributes) > 0 && driver == "" {
		d.Problem(attributesNode, "has a meaning for one driver only; hint: add driver beside it")
	}
	return func(f facts) bool {
		return f.csi != nil && (driver == "" || driver == f.csi.driver) && holds(f.csi.attributes, attributes)
	}
}

// volumeTypes ignores case: the documentation's example says configmap where
// the volume source is called configMap, and what it promises shall work.
func (d *decoder) volumeTypes(n *node) condition {
	var types []string
	d.List(n, func(n *node) {
		name, ok := d.Text(n)
		if !ok {
			return
		}
		types = append(types, name)
		if !slices.ContainsFunc(sourceTypes(), func(known string) bool { return strings.EqualFold(known, name) }) {
			d.warnings = append(d.warnings, n.Place()+quoteType(name))
		}
	})
	if len(types) == 0 {
		return nil
	}
	return func(f facts) bool {
		return slices.ContainsFunc(types, func(name string) bool {
			return slices.ContainsFunc(f.types, func(is string) bool { return strings.EqualFold(is, name) })
		})
	}
}

// pvcLabels holds when the claim has all of them.
func (d *decoder) pvcLabels(n *node) condition {
	labels := d.TextMap(n)
	if len(labels) == 0 {
		return nil
	}
	return func(f facts) bool { return f.claim != nil && holds(f.claim.Labels, labels) }
}

func (d *decoder) pvcPhase(n *node) condition {
	var phases []corev1.PersistentVolumeClaimPhase
	d.List(n, func(n *node) {
		text, ok := d.Text(n)
		if !ok {
			return
		}
		phase := corev1.PersistentVolumeClaimPhase(text)
		if !slices.Contains(claimPhases, phase) {
			d.Problem(n, "%q is no phase of a claim; hint: use %s", text, anyOf(claimPhases))
		}
		phases = append(phases, phase)
	})
	if len(phases) == 0 {
		return nil
	}
	return func(f facts) bool { return f.claim != nil && slices.Contains(phases, f.claim.Status.Phase) }
}

// holds reports whether all has every pair of some.
func holds(all, some map[string]string) bool {
	for key, value := range some {
		if got, ok := all[key]; !ok || got != value {
			return false
		}
	}
	return true
}

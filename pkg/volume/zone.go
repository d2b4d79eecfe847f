package volume

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// gkeZone is the one topology key whose volumes may be in several zones.
const gkeZone = "topology.gke.io/zone"

// zoneSeparator joins the zones of a volume that is in several.
const zoneSeparator = "__"

// zoneKeys are the topology keys that name a zone, in the order in which Velero
// looks for them.
var zoneKeys = []string{
	"topology.ebs.csi.aws.com/zone", "topology.disk.csi.azure.com/zone", gkeZone,
	"topology.manila.csi.openstack.org/zone", "topology.cinder.csi.openstack.org/zone",
	corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone,
}

// Zone is where a volume's disk is: its zone label, else what its node affinity
// asks for; empty when neither says. Zones of a regional disk of GKE are joined by
// "__".
func Zone(pv *corev1.PersistentVolume) string {
	for _, label := range []string{corev1.LabelTopologyZone, corev1.LabelFailureDomainBetaZone} {
		if zone := pv.Labels[label]; zone != "" {
			return zone
		}
	}
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return ""
	}
	for _, key := range zoneKeys {
		if zones := affinityZones(pv.Spec.NodeAffinity.Required, key); len(zones) > 0 {
			if key == gkeZone {
				return strings.Join(zones, zoneSeparator)
			}
			return zones[0]
		}
	}
	return ""
}

// affinityZones returns the first value of each term that asks for the key.
func affinityZones(selector *corev1.NodeSelector, key string) []string {
	var zones []string
	for _, term := range selector.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == key && e.Operator == corev1.NodeSelectorOpIn && len(e.Values) > 0 {
				zones = append(zones, e.Values[0])
			}
		}
	}
	return zones
}

package volume

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestZone(t *testing.T) {
	t.Parallel()
	in := func(key string, values ...string) corev1.NodeSelectorTerm {
		return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: "other", Operator: corev1.NodeSelectorOpIn, Values: []string{"x"}},
			{Key: key, Operator: corev1.NodeSelectorOpIn, Values: values},
		}}
	}
	except := in("topology.gke.io/zone", "a")
	except.MatchExpressions[1].Operator = corev1.NodeSelectorOpNotIn
	for name, c := range map[string]struct {
		labels map[string]string
		terms  []corev1.NodeSelectorTerm
		want   string
	}{
		"nowhere":        {},
		"label":          {labels: map[string]string{"topology.kubernetes.io/zone": "a", "failure-domain.beta.kubernetes.io/zone": "b"}, want: "a"},
		"old label":      {labels: map[string]string{"failure-domain.beta.kubernetes.io/zone": "b"}, want: "b"},
		"label first":    {labels: map[string]string{"failure-domain.beta.kubernetes.io/zone": "b"}, terms: []corev1.NodeSelectorTerm{in("topology.ebs.csi.aws.com/zone", "c")}, want: "b"},
		"affinity":       {terms: []corev1.NodeSelectorTerm{in("topology.disk.csi.azure.com/zone", "westeurope-2", "westeurope-1")}, want: "westeurope-2"},
		"order of keys":  {terms: []corev1.NodeSelectorTerm{in("topology.kubernetes.io/zone", "z"), in("topology.ebs.csi.aws.com/zone", "e")}, want: "e"},
		"regional":       {terms: []corev1.NodeSelectorTerm{in("topology.gke.io/zone", "a-1"), in("topology.gke.io/zone", "a-2")}, want: "a-1__a-2"},
		"other operator": {terms: []corev1.NodeSelectorTerm{except}},
		"no values":      {terms: []corev1.NodeSelectorTerm{in("topology.kubernetes.io/zone")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}}
			if c.terms != nil {
				pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: c.terms}}
			}
			if got := Zone(pv); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

//go:build e2e

package tests

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

// TestRestoreKilled kills the executor in the middle of a restore: the Job's
// next pod goes on and ends it, and what was there already is its own. A pod
// whose account isn't in the backup keeps the restore in the middle.
func TestRestoreKilled(t *testing.T) {
	s := start(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs the node's processes: the local cluster")
	}
	ns := unique("rkilled")
	var objects strings.Builder
	for n := range 40 {
		fmt.Fprintf(&objects, "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: c%d, namespace: %s}, data: {a: b}}\n", n, ns)
	}
	account := fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: late, namespace: %s, labels: {velero.io/exclude-from-backup: \"true\"}}}\n", ns)
	s.apply(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %[1]s}}
---
%[3]s---
{apiVersion: v1, kind: Pod, metadata: {name: waits, namespace: %[1]s}, spec: {serviceAccountName: late, terminationGracePeriodSeconds: 0, containers: [{name: c, image: %[2]q, imagePullPolicy: IfNotPresent}]}}
%[4]s`, ns, s.images[artifact.AppName], account, objects.String()))
	s.after("kubectl", "delete", "namespace", ns, "--wait=false", "--ignore-not-found")
	s.must("kubectl", "velero", "backup", "create", ns, "--include-namespaces", ns, "--wait")
	s.lose(ns)

	s.must("kubectl", "velero", "restore", "create", ns, "--from-backup", ns)
	s.eventually("the restore is in its middle", func() bool {
		list, err := s.kube.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.RestoreNameLabel})
		s.check(err)
		return len(list.Items) == 40
	})
	s.kill("restore", ns)
	s.eventually("another pod of the Job works on it", func() bool {
		restore, err := s.velero.Restores(namespace).Get(t.Context(), ns, metav1.GetOptions{})
		s.check(err)
		return restore.Annotations[velerov1.AttemptAnnotation] == "2"
	})
	s.apply(account)
	var restore *velerov1.Restore
	s.eventually("the restore has ended", func() bool {
		var err error
		restore, err = s.velero.Restores(namespace).Get(t.Context(), ns, metav1.GetOptions{})
		s.check(err)
		return restore.Status.Phase.Terminal()
	})
	if restore.Status.Phase != velerov1.RestorePhaseCompleted || restore.Status.Errors != 0 || restore.Status.Warnings != 0 {
		t.Errorf("status %+v", restore.Status)
	}
	if p := restore.Status.Progress; p == nil || p.ItemsRestored != p.TotalItems || p.ItemsRestored < 41 {
		t.Errorf("progress %+v", p)
	}
	s.must("kubectl", "-n", ns, "wait", "pod/waits", "--for=condition=Ready", "--timeout="+patience.String())
	bindings, err := s.kube.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{LabelSelector: velerov1.OperationUIDLabel + "=" + string(restore.UID)})
	s.check(err)
	if len(bindings.Items) > 0 {
		t.Errorf("the rights of the restore are still there: %s", bindings.Items[0].Name)
	}
	s.must("kubectl", "velero", "backup", "delete", ns, "--confirm")
}

//go:build e2e

package tests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
)

// workloads is one workload of each kind that owns pods.
const workloads = `apiVersion: v1
kind: Namespace
metadata: {name: NS}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  replicas: 3
  revisionHistoryLimit: 3
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: POD}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: bare, namespace: NS}
spec:
  replicas: 2
  selector: {matchLabels: {app: bare}}
  template: {metadata: {labels: {app: bare}}, spec: POD}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old, namespace: NS}
spec:
  replicas: 1
  selector: {app: old}
  template: {metadata: {labels: {app: old}}, spec: POD}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: NS}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: NS}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: POD}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: NS}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: POD}
---
apiVersion: batch/v1
kind: Job
metadata: {name: work, namespace: NS}
spec:
  parallelism: 2
  template: {metadata: {labels: {app: work}}, spec: {restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{name: c, image: IMAGE, imagePullPolicy: IfNotPresent}]}}
`

// family is what a namespace runs: each pod, and each object between it and its
// workload, under its owner.
type family struct {
	// pods are their names; of Jobs, whose pods have new names, only how many.
	pods map[string][]string
	// sets are ReplicaSets and ControllerRevisions.
	sets map[string][]string
}

func ownerOf(meta metav1.ObjectMeta) string {
	if owner := metav1.GetControllerOfNoCopy(&meta); owner != nil {
		return owner.Kind + "/" + owner.Name
	}
	return "nobody"
}

// family reads it. Pods on their way out don't count.
func (s *session) family(namespace string) family {
	s.t.Helper()
	f := family{pods: map[string][]string{}, sets: map[string][]string{}}
	pods, err := s.kube.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	for _, p := range pods.Items {
		owner, name := ownerOf(p.ObjectMeta), p.Name
		if strings.HasPrefix(owner, "Job/") {
			name = "a pod"
		}
		if p.DeletionTimestamp == nil {
			f.pods[owner] = append(f.pods[owner], name)
		}
	}
	sets, err := s.kube.AppsV1().ReplicaSets(namespace).List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	for _, r := range sets.Items {
		f.sets[ownerOf(r.ObjectMeta)] = append(f.sets[ownerOf(r.ObjectMeta)], fmt.Sprintf("%s with %d", r.Name, *r.Spec.Replicas))
	}
	revisions, err := s.kube.AppsV1().ControllerRevisions(namespace).List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	for _, r := range revisions.Items {
		f.sets[ownerOf(r.ObjectMeta)] = append(f.sets[ownerOf(r.ObjectMeta)], fmt.Sprintf("%s of revision %d", r.Name, r.Revision))
	}
	for _, group := range []map[string][]string{f.pods, f.sets} {
		for _, names := range group {
			slices.Sort(names)
		}
	}
	return f
}

// settled reports whether all workloads have what they ask for, and their
// controllers have seen their newest form.
func (s *session) settled(namespace string) bool {
	s.t.Helper()
	ctx, apps := s.t.Context(), s.kube.AppsV1()
	deployment, err := apps.Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
	s.check(err)
	replicaSet, err := apps.ReplicaSets(namespace).Get(ctx, "bare", metav1.GetOptions{})
	s.check(err)
	controller, err := s.kube.CoreV1().ReplicationControllers(namespace).Get(ctx, "old", metav1.GetOptions{})
	s.check(err)
	statefulSet, err := apps.StatefulSets(namespace).Get(ctx, "db", metav1.GetOptions{})
	s.check(err)
	daemonSet, err := apps.DaemonSets(namespace).Get(ctx, "agent", metav1.GetOptions{})
	s.check(err)
	job, err := s.kube.BatchV1().Jobs(namespace).Get(ctx, "work", metav1.GetOptions{})
	s.check(err)
	d, r, c, st, ds := deployment.Status, replicaSet.Status, controller.Status, statefulSet.Status, daemonSet.Status
	return d.ObservedGeneration == deployment.Generation && d.ReadyReplicas == 3 && d.Replicas == 3 && d.UpdatedReplicas == 3 &&
		r.ReadyReplicas == 2 && r.Replicas == 2 && c.ReadyReplicas == 1 && c.Replicas == 1 &&
		st.ObservedGeneration == statefulSet.Generation && st.ReadyReplicas == 2 && st.Replicas == 2 && st.UpdatedReplicas == 2 &&
		ds.ObservedGeneration == daemonSet.Generation && ds.NumberReady == ds.DesiredNumberScheduled && ds.UpdatedNumberScheduled == ds.DesiredNumberScheduled &&
		job.Status.Active == 2 && job.Status.Ready != nil && *job.Status.Ready == 2
}

// Pods come back before their controllers, which adopt them: each is there once,
// under the workload that it had, and none was started beside it.
func TestRestoredPodsAreAdopted(t *testing.T) {
	s := start(t)
	ns := unique("adopt")
	pod := `{terminationGracePeriodSeconds: 0, containers: [{name: c, image: IMAGE, imagePullPolicy: IfNotPresent}]}`
	s.apply(strings.NewReplacer("POD", strings.ReplaceAll(pod, "IMAGE", s.images[artifact.AppName]), "NS", ns, "IMAGE", s.images[artifact.AppName]).Replace(workloads))
	s.after("kubectl", "delete", "namespace", ns, "--wait=false", "--ignore-not-found")
	s.eventually("all workloads run", func() bool { return s.settled(ns) })
	// A second revision, so that there is one that nobody runs any more.
	s.must("kubectl", "-n", ns, "patch", "deployment/web", "-p", `{"spec":{"template":{"metadata":{"annotations":{"revision":"two"}}}}}`)
	s.must("kubectl", "-n", ns, "rollout", "status", "deployment/web", "--timeout="+patience.String())
	s.eventually("all workloads run", func() bool { return s.settled(ns) && len(s.family(ns).pods["Job/work"]) == 2 })
	before := s.family(ns)

	s.must("kubectl", "velero", "backup", "create", ns, "--include-namespaces", ns, "--wait")
	s.lose(ns)
	began := time.Now().Add(-time.Second)
	s.must("kubectl", "velero", "restore", "create", ns, "--from-backup", ns, "--wait")
	s.eventually("all workloads run again", func() bool { return s.settled(ns) })
	after := s.family(ns)
	if diff := cmp.Diff(before, after, cmp.AllowUnexported(family{})); diff != "" {
		t.Errorf("what runs (-before +after):\n%s", diff)
	}
	s.startedOnce(ns, began, before)

	// Workloads that have changed are made anew, and their pods stay.
	for _, workload := range []string{"deployment/web", "statefulset/db", "daemonset/agent", "replicaset/bare", "replicationcontroller/old"} {
		s.must("kubectl", "-n", ns, "annotate", workload, "changed=yes")
	}
	again := unique("adopt")
	s.must("kubectl", "velero", "restore", "create", again, "--from-backup", ns, "--existing-resource-policy", "recreate",
		"--include-resources", "deployments,statefulsets,daemonsets,replicasets,replicationcontrollers", "--wait")
	s.eventually("all workloads still run", func() bool { return s.settled(ns) })
	if diff := cmp.Diff(before, s.family(ns), cmp.AllowUnexported(family{})); diff != "" {
		t.Errorf("what runs after recreate (-before +after):\n%s", diff)
	}
	s.startedOnce(ns, began, before)
	s.must("kubectl", "velero", "backup", "delete", ns, "--confirm")
}

// startedOnce wants that controllers made and removed no pod of their own since
// then, but those of the Job.
func (s *session) startedOnce(namespace string, since time.Time, before family) {
	s.t.Helper()
	events, err := s.kube.CoreV1().Events(namespace).List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	for _, e := range events.Items {
		if e.LastTimestamp.Time.Before(since) || e.InvolvedObject.Kind == "Job" || e.Type == corev1.EventTypeWarning {
			continue
		}
		if e.Reason == "SuccessfulCreate" || e.Reason == "SuccessfulDelete" || e.Reason == "ScalingReplicaSet" {
			s.t.Errorf("%s/%s: %s %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
		}
	}
	pods, err := s.kube.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{})
	s.check(err)
	known := slices.Concat(slices.Collect(maps.Values(before.pods))...)
	for _, p := range pods.Items {
		if !slices.Contains(known, p.Name) && ownerOf(p.ObjectMeta) != "Job/work" {
			s.t.Errorf("pod %s wasn't there before", p.Name)
		}
	}
}

package transform_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

func TestPod(t *testing.T) {
	t.Parallel()
	const ofJob = `{metadata: {ownerReferences: [{apiVersion: batch/v1, kind: Job, name: j, uid: u, controller: true}]}, spec: {containers: [{name: c}]}}`
	run(t, []testCase{{
		name: "placed anew", resource: "pods",
		in:   `{spec: {nodeName: n1, priority: 5, priorityClassName: high, containers: [{name: c}]}, status: {phase: Running}}`,
		want: `{spec: {priorityClassName: high, containers: [{name: c}]}}`,
	}, {
		name: "token volumes of old clusters go", resource: "pods",
		in: `
spec:
  serviceAccountName: web
  volumes: [{name: web-token-abcde}, {name: data}, {name: kube-api-access-x}]
  containers: [{name: c, volumeMounts: [{name: web-token-abcde}, {name: data}]}]
  initContainers: [{name: i, volumeMounts: [{name: web-token-abcde}]}]
`,
		want: `
spec:
  serviceAccountName: web
  volumes: [{name: data}, {name: kube-api-access-x}]
  containers: [{name: c, volumeMounts: [{name: data}]}]
  initContainers: [{name: i}]
`,
	}, {
		name: "waits that an earlier restore added go", resource: "pods",
		in:   `{spec: {initContainers: [{name: restore-wait, image: velero}, {name: own}], containers: [{name: c}]}}`,
		want: `{spec: {initContainers: [{name: own}], containers: [{name: c}]}}`,
	}, {
		name: "ephemeral containers can't be created", resource: "pods",
		in: `{spec: {ephemeralContainers: [{name: debug}]}}`, want: `{spec: {}}`,
	}, {
		name: "succeeded", resource: "pods",
		in:       `{status: {phase: Succeeded}}`,
		decision: transform.Decision{Skip: "the pod has ended (phase Succeeded)"},
	}, {
		name: "failed", resource: "pods",
		in:       `{status: {phase: Failed}}`,
		decision: transform.Decision{Skip: "the pod has ended (phase Failed)"},
	}, {
		name: "mirror pod", resource: "pods",
		in:       `{metadata: {annotations: {kubernetes.io/config.mirror: "1"}}}`,
		decision: transform.Decision{Skip: "a kubelet makes mirror pods from files of its node"},
	}, {
		name: "pod of a Job", resource: "pods", in: ofJob,
		decision: transform.Decision{Skip: "its Job starts a new pod"},
	}, {
		name: "pod of a Job that isn't restored", resource: "pods", in: ofJob,
		options: func(o *transform.Options) {
			o.Selected = func(gr schema.GroupResource) bool { return gr.Resource != "jobs" }
		},
		want: `{spec: {containers: [{name: c}]}}`,
	}, {
		name: "pod of a ReplicaSet", resource: "pods",
		in:   `{metadata: {labels: {pod-template-hash: h}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: u, controller: true}]}, spec: {}}`,
		want: `{metadata: {labels: {pod-template-hash: h}}, spec: {}}`,
	}, {
		name: "hooks are no matter of this package", resource: "pods",
		in: `{metadata: {annotations: {post.hook.restore.velero.io/command: x}}, spec: {}}`,
	}, {
		name: "what admission computes is left to it", resource: "pods",
		in:   `{spec: {priorityClassName: high, priority: 5, preemptionPolicy: Never, runtimeClassName: kata, overhead: {cpu: 250m}}}`,
		want: `{spec: {priorityClassName: high, runtimeClassName: kata}}`,
	}, {
		name: "without its Job nobody would take the finalizer off", resource: "pods",
		options: func(o *transform.Options) {
			o.Selected = func(gr schema.GroupResource) bool { return gr.Resource != "jobs" }
		},
		in:   `{metadata: {finalizers: [batch.kubernetes.io/job-tracking, example.com/hold]}, spec: {}}`,
		want: `{metadata: {finalizers: [example.com/hold]}, spec: {}}`,
	}, {
		name: "no finalizer left", resource: "pods",
		in:   `{metadata: {finalizers: [batch.kubernetes.io/job-tracking]}, spec: {}}`,
		want: `{metadata: {}, spec: {}}`,
	}, {
		name: "pod of a StatefulSet keeps its place", resource: "pods",
		in: `
metadata:
  generateName: db-
  labels: {controller-revision-hash: db-95d758879, apps.kubernetes.io/pod-index: "0", statefulset.kubernetes.io/pod-name: db-0}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u, controller: true}]
spec: {hostname: db-0, subdomain: db, nodeName: n1}
`,
		want: `
metadata: {labels: {controller-revision-hash: db-95d758879, apps.kubernetes.io/pod-index: "0", statefulset.kubernetes.io/pod-name: db-0}}
spec: {hostname: db-0, subdomain: db}
`,
	}, {
		name: "token volume of the deprecated field", resource: "pods",
		in:   `{spec: {serviceAccount: web, volumes: [{name: web-token-1}, {name: a-token-1}]}}`,
		want: `{spec: {serviceAccount: web, volumes: [{name: a-token-1}]}}`,
	}, {
		name: "no account, no token volume", resource: "pods",
		in: `{spec: {volumes: [{name: web-token-1}]}}`,
	}, {
		name: "owned by something else called Job", resource: "pods",
		in:   `{metadata: {ownerReferences: [{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, name: j, uid: u, controller: true}]}, spec: {}}`,
		want: `{spec: {}}`,
	}, {
		name: "no spec", resource: "pods", in: `{}`,
	}, {
		name: "null spec", resource: "pods", in: `{spec: null}`,
	}})
}

func TestJob(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "labels with the former UID go", resource: "jobs.batch",
		in: `
spec:
  selector: {matchLabels: {batch.kubernetes.io/controller-uid: u, controller-uid: u, mine: m}}
  template: {metadata: {labels: {batch.kubernetes.io/controller-uid: u, controller-uid: u, job-name: j}}}
`,
		want: `
spec:
  selector: {matchLabels: {mine: m}}
  template: {metadata: {labels: {job-name: j}}}
`,
	}, {
		name: "completed", resource: "jobs.batch",
		in:       `{spec: {}, status: {completionTime: "2026-01-01T00:00:00Z"}}`,
		decision: transform.Decision{Skip: "the Job has completed"},
	}, {
		name: "failed Jobs run again", resource: "jobs.batch",
		in:   `{spec: {}, status: {failed: 1, conditions: [{type: Failed, status: "True"}]}}`,
		want: `{spec: {}}`,
	}, {
		name: "no completion time", resource: "jobs.batch",
		in: `{spec: {}, status: {completionTime: null}}`, want: `{spec: {}}`,
	}, {
		name: "no spec", resource: "jobs.batch", in: `{}`,
	}})
}

// Controllers take restored objects for theirs by labels, so they come without
// the owners they had.
func TestWorkloadsAreAdopted(t *testing.T) {
	t.Parallel()
	run(t, []testCase{{
		name: "ReplicaSet", resource: "replicasets.apps",
		in: `
metadata:
  labels: {app: web, pod-template-hash: bbfb676d}
  annotations: {deployment.kubernetes.io/revision: "2"}
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: u, controller: true}]
spec: {selector: {matchLabels: {app: web, pod-template-hash: bbfb676d}}, template: {metadata: {labels: {app: web, pod-template-hash: bbfb676d}}}}
status: {replicas: 1}
`,
		want: `
metadata: {labels: {app: web, pod-template-hash: bbfb676d}, annotations: {deployment.kubernetes.io/revision: "2"}}
spec: {selector: {matchLabels: {app: web, pod-template-hash: bbfb676d}}, template: {metadata: {labels: {app: web, pod-template-hash: bbfb676d}}}}
`,
	}, {
		name: "ControllerRevision", resource: "controllerrevisions.apps",
		in: `
metadata:
  labels: {controller.kubernetes.io/hash: 95d758879}
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: db, uid: u, controller: true}]
data: {spec: {template: {$patch: replace, spec: {containers: [{name: db}]}}}}
revision: 3
`,
		want: `
metadata: {labels: {controller.kubernetes.io/hash: 95d758879}}
data: {spec: {template: {$patch: replace, spec: {containers: [{name: db}]}}}}
revision: 3
`,
	}})
}

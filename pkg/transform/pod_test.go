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
		name: "restore hooks are told", resource: "pods", problems: 1,
		in: `{metadata: {annotations: {post.hook.restore.velero.io/command: x}}, spec: {}}`,
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
		name: "no spec", resource: "jobs.batch", in: `{}`,
	}})
}

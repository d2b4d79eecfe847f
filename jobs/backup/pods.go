package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/hooks"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// postHookTime is how long post hooks may take after the backup itself was
// stopped: what a pre hook froze must not stay frozen.
const postHookTime = time.Minute

// podFacts is the part of a pod that a backup looks at.
type podFacts struct {
	Metadata struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec struct {
		PriorityClassName string          `json:"priorityClassName"`
		Volumes           []corev1.Volume `json:"volumes"`
		Containers        []struct {
			Name string `json:"name"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase corev1.PodPhase `json:"phase"`
	} `json:"status"`
}

func readPod(obj cluster.Object) (podFacts, error) {
	var pod podFacts
	if err := json.Unmarshal(obj.Raw, &pod); err != nil {
		return pod, &unreadableError{fmt.Errorf("decode pod: %w", err)}
	}
	return pod, nil
}

// claims are the claims that the pod mounts.
func (p podFacts) claims(namespace string) []place {
	var claims []place
	for _, volume := range p.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			claims = append(claims, place{namespace, volume.PersistentVolumeClaim.ClaimName})
		}
	}
	return claims
}

// fsVolumes are the volumes that the pod's owner wants saved file by file.
func (p podFacts) fsVolumes() []string {
	return split(p.Metadata.Annotations[velerov1.VolumesToBackupAnnotation])
}

// fsClaims are the claims among them, and the names of their volumes in the pod.
func (p podFacts) fsClaims(namespace string) map[place]string {
	claims := map[place]string{}
	for _, name := range p.fsVolumes() {
		for _, volume := range p.Spec.Volumes {
			if volume.Name == name && volume.PersistentVolumeClaim != nil {
				claims[place{namespace, volume.PersistentVolumeClaim.ClaimName}] = name
			}
		}
	}
	return claims
}

func (p podFacts) forHooks(obj cluster.Object) hooks.Pod {
	pod := hooks.Pod{
		Namespace: obj.Namespace, Name: obj.Name, Labels: obj.Labels,
		Annotations: p.Metadata.Annotations, Phase: p.Status.Phase,
	}
	for _, container := range p.Spec.Containers {
		pod.Containers = append(pod.Containers, container.Name)
	}
	return pod
}

// inspectPod notes what a stored pod needs, and says which of its volumes were
// to be saved file by file and are not.
func (c *collector) inspectPod(k *kind, obj cluster.Object) error {
	pod, err := readPod(obj)
	if err != nil {
		return err
	}
	c.needs.pod(obj.Namespace, pod)
	c.inspectPodVolumes(refOf(k, obj), pod)
	return nil
}

// podTaker stores pods. Those with hooks wait until the list is read: a list
// must not stand open while commands run.
type podTaker struct {
	collector *collector
	kind      *kind
	waiting   []hookedPod
}

// hookedPod is a pod that waits for its hooks.
type hookedPod struct {
	pod    hooks.Pod
	plan   hooks.Plan
	claims []place
	// inOrder says that the spec gave it its turn.
	inOrder bool
}

func (t *podTaker) take(ctx context.Context, obj cluster.Object, inOrder bool) error {
	facts, err := readPod(obj)
	if err != nil {
		return t.collector.write(ctx, t.kind, obj) // which reports it
	}
	t.collector.needs.byFiles(placeOf(obj), facts)
	pod := facts.forHooks(obj)
	plan := t.collector.hooks.Of(pod)
	if plan.Empty() && !inOrder {
		return t.collector.write(ctx, t.kind, obj)
	}
	t.waiting = append(t.waiting, hookedPod{pod: pod, plan: plan, claims: facts.claims(obj.Namespace), inOrder: inOrder})
	return nil
}

// end runs the hooks of the waiting pods and stores these, block by block.
func (t *podTaker) end(ctx context.Context) error {
	if err := t.joinGroups(ctx); err != nil {
		return err
	}
	blocks := blocksOf(t.waiting)
	t.waiting = nil
	for _, block := range blocks {
		if err := t.store(ctx, block); err != nil {
			return err
		}
	}
	return nil
}

// joinGroups adds to each waiting pod the claims that are snapshotted together with
// its own.
func (t *podTaker) joinGroups(ctx context.Context) error {
	c := t.collector
	if !c.snapshots.takeAny() || len(t.waiting) == 0 {
		return nil
	}
	claims := places{}
	for _, p := range t.waiting {
		for _, claim := range p.claims {
			claims[claim] = true
		}
	}
	if len(claims) > 0 {
		c.readVolumes(ctx) // before anything has to be quiet
	}
	groups, err := c.readGroups(ctx, claims)
	if err != nil {
		return err
	}
	for i := range t.waiting {
		t.waiting[i].claims = groups.extend(t.waiting[i].claims)
	}
	return nil
}

// blocksOf puts pods together that mount a claim in common, directly or through
// others, and those in the spec's order: all of a block are quiet at the same
// time. Blocks and their pods keep the order in which the pods came.
func blocksOf(pods []hookedPod) [][]hookedPod {
	var blocks [][]hookedPod
	for _, pod := range pods {
		joined := []hookedPod{}
		blocks = slices.DeleteFunc(blocks, func(block []hookedPod) bool {
			if !slices.ContainsFunc(block, pod.belongsWith) {
				return false
			}
			joined = append(joined, block...)
			return true
		})
		blocks = append(blocks, append(joined, pod))
	}
	return blocks
}

func (p hookedPod) belongsWith(other hookedPod) bool {
	return p.inOrder && other.inOrder ||
		slices.ContainsFunc(p.claims, func(claim place) bool { return slices.Contains(other.claims, claim) })
}

// store runs the pre hooks of a block, stores its pods as they are then, has their
// claims snapshotted, and runs the post hooks of those whose pre hooks let them be
// stored: when everything is cut. The post hooks run whatever happens.
func (t *podTaker) store(ctx context.Context, block []hookedPod) (err error) {
	var quiet []hookedPod
	defer func() { err = errors.Join(err, t.postAll(ctx, quiet)) }()
	for _, p := range block {
		blocked, err := t.hook(ctx, p, hooks.Pre, p.plan.Pre)
		if err == nil && blocked {
			t.keepOut(ctx, p, reasonHook)
			continue
		}
		quiet = append(quiet, p) // also when it was interrupted: it may be half quiet
		if err != nil {
			return err
		}
	}
	claims := places{}
	for _, p := range quiet {
		if err := t.storeOne(ctx, p); err != nil {
			return err
		}
		for _, claim := range p.claims {
			claims[claim] = true
		}
	}
	return t.collector.saveClaimsAt(ctx, claims)
}

// storeOne reads a pod again, as its hooks left it, and stores it.
func (t *podTaker) storeOne(ctx context.Context, p hookedPod) error {
	c := t.collector
	at := place{p.pod.Namespace, p.pod.Name}
	taken := false
	found, err := c.getOne(ctx, t.kind, at, func(obj cluster.Object) error {
		taken = true
		if reason := c.barred(t.kind, obj); reason != "" {
			c.skip(ctx, t.kind, at, reason)
			return nil
		}
		return c.write(ctx, t.kind, obj)
	})
	switch {
	case err != nil:
		return err
	case !found:
		t.keepOut(ctx, p, reasonGone)
	case !taken:
		t.keepOut(ctx, p, reasonBroken)
	}
	return nil
}

// keepOut counts a pod as not stored, also if another object needs it.
func (t *podTaker) keepOut(ctx context.Context, p hookedPod, reason string) {
	at := place{p.pod.Namespace, p.pod.Name}
	t.collector.needs.settle(podResource, at)
	t.collector.skip(ctx, t.kind, at, reason)
}

// postAll runs the post hooks of all pods at once, those of a pod in order: what is
// quiet must not stay so because another pod's hook hangs, least of all when the
// backup was stopped and its process is about to be killed.
func (t *podTaker) postAll(ctx context.Context, quiet []hookedPod) error {
	errs := make([]error, len(quiet))
	var all sync.WaitGroup
	for i, p := range quiet {
		all.Go(func() { errs[i] = t.post(ctx, p) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func (t *podTaker) post(ctx context.Context, p hookedPod) error {
	if len(p.plan.Post) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookTime(p.plan.Post)+postHookTime)
	defer cancel()
	_, err := t.hook(ctx, p, hooks.Post, p.plan.Post)
	return err
}

func hookTime(list []hooks.Hook) time.Duration {
	var total time.Duration
	for _, hook := range list {
		total += hook.Timeout
	}
	return total
}

// hook runs the hooks of one phase and reports their failures.
func (t *podTaker) hook(ctx context.Context, p hookedPod, phase string, list []hooks.Hook) (blocked bool, err error) {
	if len(list) == 0 {
		return false, nil
	}
	c := t.collector
	at := ref.Object{Resource: t.kind.GroupVersionResource, Kind: "Pod", Namespace: p.pod.Namespace, Name: p.pod.Name}
	for _, hook := range list {
		for _, warning := range hook.Warnings {
			c.report.Add(report.Warning, at, errors.New(warning))
		}
	}
	failures, blocked := c.hookRunner.Run(ctx, p.pod, phase, list)
	for _, failure := range failures {
		c.report.Add(report.Error, at, failure)
	}
	return blocked, ctx.Err()
}

// prepareHooks gets ready to run hooks.
func (o *operation) prepareHooks() error {
	executor, err := hooks.NewExecutor(o.REST)
	if err != nil {
		return err
	}
	o.hookRunner = &hooks.Runner{Exec: executor, Log: o.Log}
	for _, warning := range o.hooks.Warnings() {
		o.report.Add(report.Warning, ref.Object{}, errors.New(warning))
	}
	return nil
}

// hookStatus counts the hooks that were run.
func (o *operation) hookStatus() *velerov1.HookStatus {
	if o.hookRunner == nil {
		return &velerov1.HookStatus{}
	}
	return &velerov1.HookStatus{HooksAttempted: o.hookRunner.Attempted(), HooksFailed: o.hookRunner.Failed()}
}

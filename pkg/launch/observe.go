package launch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// Observer reads how operations stand and writes down the ends that nobody
// else wrote. It is safe for concurrent use.
type Observer struct {
	Kube      kubernetes.Interface
	Velero    *client.Client
	Namespace string
	// StartTimeout is how long an operation may wait to be started; 0 means for
	// ever.
	StartTimeout time.Duration
	// Now is the API server's clock; nil means this machine's.
	Now func() time.Time
}

// Target is an operation to observe.
type Target struct {
	// Operation is one of velerov1's Operation constants.
	Operation string
	// Name is that of the Backup or Restore; empty for an operation without one.
	Name string
	// Job is the Job's name; empty means the Job of the record.
	Job string
}

// kind is the kind of the operation's record.
func (t Target) kind() string {
	if t.Operation == velerov1.OperationRestore {
		return "Restore"
	}
	return "Backup"
}

// Observe reads one operation. A record that isn't there is no error, see
// State.Gone; missing permission to read pods, events or nodes isn't either,
// and the verdict is then less exact.
func (o *Observer) Observe(ctx context.Context, t Target) (State, error) {
	s := State{Operation: t.Operation, StartTimeout: o.StartTimeout}
	var err error
	if s.CR, s.Gone, err = o.record(ctx, t); err != nil {
		return State{}, err
	}
	if s.Job, err = o.job(ctx, t, s.CR); err != nil {
		return State{}, err
	}
	if s.Job != nil && !(s.recorded() && s.CR.Terminal && Finished(s.Job)) {
		o.addPods(ctx, &s)
	}
	// The executor writes the record before its Job ends. Read in the other
	// order, a good end looks like one that nobody was told of.
	if !s.Gone && !s.CR.Terminal && t.Name != "" && (s.Job == nil || Finished(s.Job)) {
		if s.CR, s.Gone, err = o.record(ctx, t); err != nil {
			return State{}, err
		}
	}
	s.Now = o.now()
	return s, nil
}

func (o *Observer) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// record reads the CR of t. It is gone when it doesn't exist.
func (o *Observer) record(ctx context.Context, t Target) (CR, bool, error) {
	if t.Name == "" {
		return CR{}, false, nil
	}
	var cr CR
	var err error
	if t.kind() == "Restore" {
		var r *velerov1.Restore
		if r, err = o.Velero.Restores(o.Namespace).Get(ctx, t.Name, metav1.GetOptions{}); err == nil {
			cr = RestoreCR(r)
		}
	} else {
		var b *velerov1.Backup
		if b, err = o.Velero.Backups(o.Namespace).Get(ctx, t.Name, metav1.GetOptions{}); err == nil {
			cr = BackupCR(b)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return CR{Kind: t.kind(), Namespace: o.Namespace, Name: t.Name}, true, nil
	case err != nil:
		return CR{}, false, fmt.Errorf("read %s %q: %w", t.kind(), t.Name, err)
	}
	return cr, false, nil
}

// job finds the Job of an operation: by name, by the record's UID, or, for a
// scheduled backup, whose Job is older than its record, by what the executor
// noted on the record.
func (o *Observer) job(ctx context.Context, t Target, cr CR) (*batchv1.Job, error) {
	switch {
	case t.Job != "":
		return o.namedJob(ctx, t.Job, "")
	case cr.UID == "":
		return nil, nil
	}
	selector := labels.Set{velerov1.OperationLabel: cr.operation(), velerov1.OperationUIDLabel: string(cr.UID)}
	list, err := o.Kube.BatchV1().Jobs(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, fmt.Errorf("find the Job of %s %q: %w", cr.Kind, cr.Name, err)
	}
	if len(list.Items) > 0 {
		return &list.Items[len(list.Items)-1], nil
	}
	if cr.JobName == "" {
		return nil, nil
	}
	return o.namedJob(ctx, cr.JobName, cr.JobUID)
}

// namedJob reads a Job; one with another UID is another Job.
func (o *Observer) namedJob(ctx context.Context, name string, uid types.UID) (*batchv1.Job, error) {
	job, err := o.Kube.BatchV1().Jobs(o.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Job %q: %w", name, err)
	case uid != "" && job.UID != uid:
		return nil, nil
	}
	return job, nil
}

// addPods adds the Job's pods, the events about them, and what is known of the
// node. All of it makes the verdict more exact and none of it is required.
func (o *Observer) addPods(ctx context.Context, s *State) {
	selector := labels.Set{batchv1.ControllerUidLabel: string(s.Job.UID)}
	if pods, err := o.Kube.CoreV1().Pods(o.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()}); err == nil {
		s.Pods = pods.Items
		sortPods(s.Pods)
	}
	o.addCircumstances(ctx, s)
}

// addCircumstances adds the events that say why the newest pod doesn't start,
// or what is known of the node that it runs on.
func (o *Observer) addCircumstances(ctx context.Context, s *State) {
	pod := s.Pod()
	switch {
	case pod == nil:
		s.Events = o.events(ctx, s.Job.UID)
	case started(pod):
		s.NodeLost = o.nodeLost(ctx, pod.Spec.NodeName)
	case !ran(pod):
		s.Events = o.events(ctx, pod.UID)
	}
}

func sortPods(pods []corev1.Pod) {
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
}

func (o *Observer) events(ctx context.Context, uid types.UID) []corev1.Event {
	list, err := o.Kube.CoreV1().Events(o.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(uid)})
	if err != nil {
		return nil
	}
	return list.Items
}

// nodeLost says what is wrong with a node that its control plane has lost.
func (o *Observer) nodeLost(ctx context.Context, name string) string {
	node, err := o.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "it no longer exists"
	}
	if err != nil {
		return ""
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown {
			return oneLine(c.Message)
		}
	}
	return ""
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/api"
)

// node is the part of a node's object that tells whether it takes pods.
type node struct {
	Spec struct {
		Taints []struct{ Key string }
	}
	Status struct {
		Conditions []struct {
			Type, Status, Message string
			LastHeartbeatTime     time.Time
		}
	}
}

// takesPods returns nil if the kubelet has reported since the given time that
// it is ready, and the node bears no taint. Without the time the report could
// be from before a restart.
func (n node) takesPods(since time.Time) error {
	for _, c := range n.Status.Conditions {
		if c.Type != "Ready" || c.LastHeartbeatTime.Before(since) {
			continue
		}
		if c.Status != "True" {
			return fmt.Errorf("node is not ready: %s", c.Message)
		}
		if len(n.Spec.Taints) > 0 {
			return fmt.Errorf("node has taint %s", n.Spec.Taints[0].Key)
		}
		return nil
	}
	return errors.New("node has not reported yet")
}

// nodeReady returns a check of the node, see takesPods.
func nodeReady(client *api.Client, since time.Time) func(context.Context) error {
	since = since.Truncate(time.Second) // the API keeps whole seconds
	return func(ctx context.Context) error {
		var n node
		if err := client.Get(ctx, "/api/v1/nodes/"+nodeName, &n); err != nil {
			return err
		}
		return n.takesPods(since)
	}
}

// markPodsNotReady corrects what etcd remembers of pods that died with an
// earlier start, as if the node had been lost; the new kubelet reports on them
// when it has started them again. Otherwise they would pass for ready until
// then.
func markPodsNotReady(ctx context.Context, client *api.Client) error {
	var pods struct {
		Items []struct {
			Metadata struct{ Name, Namespace string }
			Status   struct{ Phase string }
		}
	}
	if err := client.Get(ctx, "/api/v1/pods", &pods); err != nil {
		return err
	}
	condition := func(name string) object {
		return object{"type": name, "status": "False", "reason": "NodeRestarted"}
	}
	patch := object{"status": object{"conditions": []object{condition("Ready"), condition("ContainersReady")}}}
	for _, pod := range pods.Items {
		if pod.Status.Phase != "Running" {
			continue
		}
		path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", pod.Metadata.Namespace, pod.Metadata.Name)
		if err := client.PatchStatus(ctx, path, patch); err != nil {
			return err
		}
	}
	return nil
}

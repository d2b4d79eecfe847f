package backup

import (
	"context"
	"errors"
	"log/slog"

	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
)

// keptBody is the size up to which a kind's scratch space is used again.
const keptBody = 2 << 20

func placeOf(obj cluster.Object) place { return place{obj.Namespace, obj.Name} }

func refOf(k *kind, obj cluster.Object) ref.Object {
	return ref.Object{Resource: k.GroupVersionResource, Kind: obj.Kind, Namespace: obj.Namespace, Name: obj.Name}
}

// skip notes that an object which was read is not stored.
func (c *collector) skip(ctx context.Context, k *kind, obj place, reason string) {
	k.skip(reason)
	level := slog.LevelDebug
	if reason == reasonOurs || reason == reasonCredentials || reason == reasonStorage {
		level = slog.LevelInfo // what nobody asked for is worth a line
	}
	c.Log.Log(ctx, level, "skipped", "resource", k.coverage.Resource, "namespace", obj.namespace, "name", obj.name, "reason", reason)
}

// barred tells why an object may not be stored, selected or needed; empty when
// it may.
func (c *collector) barred(k *kind, obj cluster.Object) string {
	gr := k.GroupResource()
	switch {
	case obj.Deleting:
		return reasonDeleting
	case obj.Labels[velerov1.ExcludeFromBackupLabel] == "true":
		return reasonExcludeLabel
	case c.objects.Excludes(gr, obj.Namespace, obj.Name):
		return reasonExcludedName
	}
	return c.ours.reason(gr, obj)
}

// unselected tells why an object that a list returned isn't stored; empty when
// it is selected.
func (c *collector) unselected(k *kind, obj cluster.Object) string {
	if reason := c.barred(k, obj); reason != "" {
		return reason
	}
	if isNamespaces(k.GroupResource()) {
		return c.unselectedNamespace(obj.Name)
	}
	switch {
	case k.Namespaced && c.labelledOut(obj.Namespace):
		return reasonNamespaceLabel
	case k.Namespaced && !c.filter.Namespace(obj.Namespace):
		return reasonNamespace
	case !c.objects.Includes(k.GroupResource(), obj.Namespace, obj.Name):
		return reasonNotIncluded
	case !c.filter.Labels(obj.Labels):
		return reasonLabels
	}
	return ""
}

// write stores one object and notes what it needs. An object that is broken
// itself is reported; an error ends the backup.
func (c *collector) write(ctx context.Context, k *kind, obj cluster.Object) error {
	k.body = obj.AppendJSON(k.body[:0])
	body, err := c.inspect(k, obj, k.body)
	if err == nil {
		err = c.store(k, obj, body)
	}
	if cap(k.body) > keptBody {
		k.body = nil
	}
	var broken *archive.ItemError
	var unreadable *unreadableError
	if errors.As(err, &broken) || errors.As(err, &unreadable) {
		return c.broken(ctx, k, obj, err)
	}
	return err
}

// broken reports an object that can't be stored.
func (c *collector) broken(ctx context.Context, k *kind, obj cluster.Object, err error) error {
	c.report.Add(report.Error, refOf(k, obj), err)
	c.skip(ctx, k, placeOf(obj), reasonBroken)
	return nil
}

func (c *collector) store(k *kind, obj cluster.Object, body []byte) error {
	if k.out == nil {
		var err error
		if k.out, err = c.archive.Kind(k.GroupResource(), k.Version, k.preferred); err != nil {
			return err
		}
	}
	if err := k.out.Write(obj.Namespace, obj.Name, body); err != nil {
		return err
	}
	k.coverage.Stored++
	k.coverage.Bytes += int64(len(body))
	c.report.Item(schema.FromAPIVersionAndKind(obj.APIVersion, obj.Kind), obj.Namespace, obj.Name)
	if k.coverage.Stored == 1 || k.namespace != obj.Namespace {
		k.namespace = obj.Namespace
		c.needs.kind(k.GroupResource(), obj.Namespace)
	}
	return nil
}

// close hands what is left of a kind to the archive.
func (k *kind) close() error {
	k.body = nil
	if k.out == nil {
		return nil
	}
	return k.out.Close()
}

// unreadableError is an object whose content isn't what its kind has.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// inspect looks inside the few kinds that need it and returns the bytes to
// store.
func (c *collector) inspect(k *kind, obj cluster.Object, body []byte) ([]byte, error) {
	gr := k.GroupResource()
	c.needs.settle(gr, placeOf(obj))
	switch gr {
	case podResource:
		return body, c.inspectPod(k, obj)
	case accountResource:
		c.needs.account(placeOf(obj))
	case claimResource:
		return c.inspectClaim(obj, body)
	}
	return body, nil
}

// inspectClaim notes what a stored claim needs, and ties it to its snapshot.
func (c *collector) inspectClaim(obj cluster.Object, body []byte) ([]byte, error) {
	body, err := c.needs.claim(c.backup.Name, obj, body)
	if err != nil {
		return nil, err
	}
	saved := c.volumes.byClaim[placeOf(obj)]
	if saved == nil || saved.csi == nil {
		return body, nil
	}
	saved.claimStored = true
	if body, err = csi.StoredClaim(body, c.backup.Name, saved.csi); err != nil {
		return nil, &unreadableError{err}
	}
	return body, nil
}

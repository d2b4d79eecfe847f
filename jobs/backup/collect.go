package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

const (
	// parallelLists is the number of kinds listed at once. The API server counts
	// a list as several requests, so more would only queue there.
	parallelLists = 8
	// queued is the number of objects of one kind that wait for the archive.
	queued = 16
)

// header is the part of an object that selecting it needs.
type header struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name              string            `json:"name"`
		Namespace         string            `json:"namespace"`
		Labels            map[string]string `json:"labels"`
		DeletionTimestamp *string           `json:"deletionTimestamp"`
	} `json:"metadata"`
}

// object is one object on its way into the archive.
type object struct {
	header
	body []byte
}

// stream carries the objects of one kind from its list to the archive.
type stream struct {
	res     cluster.Resource
	objects chan object
}

// collector writes the selected objects into the archive.
type collector struct {
	*operation
	*plan
	archive *archive.Writer
	needs   *needs
	total   atomic.Int64 // objects that the lists have announced
}

// collect writes everything that is selected: kind after kind in the order of a
// restore, while the lists of the next kinds already run; then what the
// selected objects need.
func (c *collector) collect(ctx context.Context) error {
	if err := c.selected(ctx); err != nil {
		return err
	}
	if err := c.related(ctx); err != nil {
		return err
	}
	if c.report.Items() == 0 {
		c.report.Add(report.Error, ref.Object{}, errors.New("the selection matches nothing"))
	}
	return nil
}

// selected writes everything that is selected by itself.
func (c *collector) selected(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	streams := make(chan stream, parallelLists)
	group.Go(func() error { return c.list(ctx, streams) })
	group.Go(func() error {
		for s := range streams {
			for obj := range s.objects {
				if err := c.write(ctx, s.res, obj); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return group.Wait()
}

// list starts the lists in order and hands their streams over in that order.
func (c *collector) list(ctx context.Context, streams chan<- stream) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLists)
	defer close(streams)
	for _, res := range c.kinds {
		s := stream{res: res, objects: make(chan object, queued)}
		group.Go(func() error {
			defer close(s.objects)
			return c.listKind(ctx, res, func(obj object) error {
				select {
				case s.objects <- obj:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})
		select {
		case streams <- s:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), group.Wait())
		}
	}
	return group.Wait()
}

// listKind passes on every selected object of one kind. A kind that can't be
// listed is reported, and the backup goes on.
func (c *collector) listKind(ctx context.Context, res cluster.Resource, emit func(object) error) error {
	namespaces := []string{""}
	if res.Namespaced {
		if some := c.listed(); some != nil {
			namespaces = some
		}
	}
	for _, ns := range namespaces {
		opts := cluster.ListOptions{Namespace: ns, OnStale: func() { c.stale(res) }}
		if !isNamespaces(res) {
			opts.LabelSelector = c.filter.Selector()
		}
		announced := 0
		opts.OnPage = func(seen, remaining int) {
			c.total.Add(int64(seen + remaining - announced))
			announced = seen + remaining
		}
		err := c.lister.List(ctx, res, opts, func(raw []byte) error {
			obj, ok, err := c.selectObject(res, raw)
			if err != nil || !ok {
				return err
			}
			return emit(obj)
		})
		if err := c.listFailed(ctx, res, ns, err); err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) stale(res cluster.Resource) {
	c.report.Add(report.Warning, ref.Object{}, fmt.Errorf(
		"%s: the list took longer than the API server keeps a snapshot; its later part is newer than its earlier part", res.GroupResource()))
}

// listFailed reports a failed list; the error it returns ends the backup.
func (c *collector) listFailed(ctx context.Context, res cluster.Resource, ns string, err error) error {
	switch {
	case err == nil, apierrors.IsMethodNotSupported(err):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case apierrors.IsForbidden(err):
		err = fmt.Errorf("%w; hint: grant \"list %s\" to the executor's service account", err, res.GroupResource())
	case apierrors.IsNotFound(err):
		c.report.Add(report.Warning, ref.Object{}, fmt.Errorf("%s is no longer served: %w", res.GroupResource(), err))
		return nil
	}
	c.report.Add(report.Error, ref.Object{Resource: res.GroupVersionResource, Namespace: ns}, err)
	return nil
}

func isNamespaces(res cluster.Resource) bool {
	return res.GroupResource() == schema.GroupResource{Resource: "namespaces"}
}

// selectObject decodes what selecting needs and decides.
func (c *collector) selectObject(res cluster.Resource, raw []byte) (object, bool, error) {
	obj, err := decode(res, raw)
	if err != nil {
		return object{}, false, err
	}
	if isNamespaces(res) {
		return obj, c.selectsNamespaceObject(obj.Metadata.Name) && c.mayStore(res, obj), nil
	}
	inNamespace := !res.Namespaced || c.selects(obj.Metadata.Namespace)
	return obj, inNamespace && c.filter.Labels(obj.Metadata.Labels) && c.mayStore(res, obj), nil
}

// mayStore holds for every object, selected or needed: it is alive, its owner
// allows it, and it isn't ours.
func (c *collector) mayStore(res cluster.Resource, obj object) bool {
	return obj.Metadata.DeletionTimestamp == nil &&
		obj.Metadata.Labels[velerov1.ExcludeFromBackupLabel] != "true" &&
		!c.ours.has(res.GroupResource(), obj.header)
}

// decode copies an object out of a list. Items of built-in kinds come without
// kind and apiVersion, which the archive's form has.
func decode(res cluster.Resource, raw []byte) (object, error) {
	var obj object
	if err := json.Unmarshal(raw, &obj.header); err != nil {
		return object{}, fmt.Errorf("decode %s: %w", res.GroupResource(), err)
	}
	if obj.Kind != "" {
		obj.body = bytes.Clone(raw)
		return obj, nil
	}
	obj.APIVersion, obj.Kind = res.GroupVersionKind().ToAPIVersionAndKind()
	obj.body = fmt.Appendf(make([]byte, 0, len(raw)+64), `{"apiVersion":%q,"kind":%q,`, obj.APIVersion, obj.Kind)
	obj.body = append(obj.body, bytes.TrimLeft(raw, "{ \n\t")...)
	return obj, nil
}

// write stores one object and notes what it needs. An object that is broken
// itself is reported; an error ends the backup.
func (c *collector) write(ctx context.Context, res cluster.Resource, obj object) error {
	gvk := schema.FromAPIVersionAndKind(obj.APIVersion, obj.Kind)
	place := ref.Object{Resource: res.GroupVersionResource, Kind: obj.Kind, Namespace: obj.Metadata.Namespace, Name: obj.Metadata.Name}
	if !c.report.Item(gvk, place.Namespace, place.Name) {
		return nil
	}
	body, err := c.prepareObject(place, obj)
	if err != nil {
		c.report.Add(report.Error, place, err)
		return nil
	}
	err = c.archive.Write(archive.Item{
		Resource: res.GroupResource(), Version: res.Version, Preferred: true,
		Namespace: place.Namespace, Name: place.Name, Body: body,
	})
	if err != nil {
		return err
	}
	done := c.report.Items()
	c.record.Progress(ctx, "itemsBackedUp", max(done, int(c.total.Load())), done)
	return nil
}

// prepareObject looks inside the few kinds that need it and returns the bytes to
// store.
func (c *collector) prepareObject(place ref.Object, obj object) ([]byte, error) {
	c.needs.kind(place)
	switch place.Resource.GroupResource().String() {
	case "pods":
		return obj.body, c.needs.pod(place, obj.body)
	case "serviceaccounts":
		c.needs.serviceAccount(place)
	case "persistentvolumeclaims":
		return c.needs.claim(c.backup.Name, obj.body)
	case "persistentvolumes":
		return obj.body, c.volumes.add(c.report, place, obj.body)
	}
	return obj.body, nil
}

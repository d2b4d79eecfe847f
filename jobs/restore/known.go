package restore

import (
	"context"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

const (
	// listsFrom is the number of objects of a kind and namespace from which on
	// one list is cheaper than asking for each.
	listsFrom = 4
	// manyNamespaces is the share of the cluster's namespaces, one in so many,
	// from which on one list of all namespaces is cheaper than one of each.
	manyNamespaces = 4
)

// known is what the cluster held before the restore, of kinds and namespaces
// where it may hold more than a few of the objects to restore: of each object
// where it is and what it was. It is made before the first object is written and
// shrinks as the restore goes on; it is safe for concurrent use.
type known struct {
	mu      sync.Mutex
	lists   map[schema.GroupVersionResource]map[string]map[string]live // by namespace and name
	objects int
}

// live is what is remembered of an object of the cluster.
type live struct {
	fingerprint [16]byte
	// ours says that this restore made it, in an earlier attempt.
	ours bool
	// applied says that a server-side apply owns fields of it.
	applied bool
	// labelled says that it carries the labels of this restore.
	labelled bool
	// special says that it must be read again, whatever its fingerprint.
	special bool
}

// find returns what is known of an object. listed is false when nobody looked.
func (k *known) find(place ref.Object) (found live, there, listed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	names, listed := k.lists[place.Resource][place.Namespace]
	found, there = names[place.Name]
	return found, there, listed
}

// forget makes the restore look again at an object that it writes or failed to.
func (k *known) forget(place ref.Object) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.lists[place.Resource][place.Namespace], place.Name)
}

func (k *known) add(gvr schema.GroupVersionResource, namespace, name string, l live) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if names := k.lists[gvr][namespace]; names != nil {
		names[name] = l
		k.objects++
	}
}

// open notes that a namespace of a kind is about to be listed, or "" of a
// cluster-scoped kind.
func (k *known) open(gvr schema.GroupVersionResource, namespaces []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lists == nil {
		k.lists = map[schema.GroupVersionResource]map[string]map[string]live{}
	}
	if k.lists[gvr] == nil {
		k.lists[gvr] = map[string]map[string]live{}
	}
	for _, namespace := range namespaces {
		k.lists[gvr][namespace] = map[string]live{}
	}
}

// drop forgets a list that could not be read to its end.
func (k *known) drop(gvr schema.GroupVersionResource, namespaces []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, namespace := range namespaces {
		delete(k.lists[gvr], namespace)
	}
}

// unlisted are kinds of which what exists must be looked at one by one: what
// decides about a volume isn't in its fingerprint.
var unlisted = []schema.GroupResource{transform.PersistentVolumes}

// learn lists what the cluster holds of the kinds in the plan. A kind that can't
// be listed is not known, and looked at object by object.
func (o *operation) learn(ctx context.Context, chosen func(*kind) bool) error {
	lister, err := cluster.NewLister(o.REST)
	if err != nil {
		return err
	}
	workers := &errgroup.Group{}
	workers.SetLimit(cluster.MaxParallel)
	for _, k := range o.contents.all() {
		res, served := find(o.served, k.Resource, k.Version, k.Namespaced())
		if !served || !chosen(k) || slices.Contains(unlisted, k.Resource) || !res.Can("list") {
			continue
		}
		for _, l := range o.listsOf(k) {
			o.known.open(res.GroupVersionResource, l.namespaces)
			workers.Go(func() error { o.list(ctx, lister, res, l); return nil })
		}
	}
	if err := workers.Wait(); err != nil {
		return err
	}
	o.Log.Info("existing objects known", "objects", o.known.objects)
	return ctx.Err()
}

// listing is one list to read: of one namespace, or of all if namespace is
// empty, for the sake of some.
type listing struct {
	namespace  string
	namespaces []string
}

// listsOf decides which lists of a kind are worth their requests.
func (o *operation) listsOf(k *kind) []listing {
	if !k.Namespaced() {
		if k.Count[""] < listsFrom || !o.selection.kind(k.Resource, false) {
			return nil
		}
		return []listing{{namespaces: []string{""}}}
	}
	counts := map[string]int{}
	for source, count := range k.Count {
		target := o.namespaces.target(source)
		if o.selection.kind(k.Resource, true) && o.selection.Namespace(source) && o.namespaces.existed(target) {
			counts[target] += count
		}
	}
	var wanted []string
	for namespace, count := range counts {
		if count >= listsFrom {
			wanted = append(wanted, namespace)
		}
	}
	if len(wanted) > 1 && len(wanted)*manyNamespaces >= o.namespaces.count() {
		return []listing{{namespaces: wanted}}
	}
	var lists []listing
	for _, namespace := range wanted {
		lists = append(lists, listing{namespace: namespace, namespaces: []string{namespace}})
	}
	return lists
}

// list reads one list into what is known.
func (o *operation) list(ctx context.Context, lister *cluster.Lister, res cluster.Resource, l listing) {
	var body []byte
	err := lister.List(ctx, res, cluster.ListOptions{Namespace: l.namespace}, func(object cluster.Object) error {
		if object.Deleting || l.namespace == "" && !slices.Contains(l.namespaces, object.Namespace) {
			return nil // of one on its way out nothing is known: its place becomes free
		}
		body = object.AppendJSON(body[:0])
		found, err := o.liveOf(res.GroupResource(), body)
		if err != nil {
			o.Log.Warn("existing object not understood", "resource", res.GroupResource().String(), "namespace", object.Namespace, "name", object.Name, "error", err)
			found = live{special: true}
		}
		o.known.add(res.GroupVersionResource, object.Namespace, strings.Clone(object.Name), found)
		return nil
	})
	if err != nil {
		o.known.drop(res.GroupVersionResource, l.namespaces)
		o.Log.Warn("existing objects can't be listed; each is looked at", "resource", res.GroupResource().String(), "namespace", l.namespace, "error", err)
	}
}

// liveOf is what is remembered of an object of the cluster.
func (o *operation) liveOf(resource schema.GroupResource, body []byte) (live, error) {
	obj, err := transform.Parse(body)
	if err != nil {
		return live{}, err
	}
	found := live{ours: o.madeByUs(obj), applied: obj.Applied(), labelled: o.labelled(obj), special: isToken(resource, obj)}
	if err := o.transformer.Live(resource, obj); err != nil {
		return live{}, err
	}
	found.fingerprint, err = obj.Fingerprint()
	return found, err
}

// isToken reports whether an object is a service account's token, which the
// transforms take for one that the cluster makes by itself.
func isToken(resource schema.GroupResource, obj *transform.Object) bool {
	var kind corev1.SecretType
	return resource == secrets && (obj.Read("type", &kind) != nil || kind == corev1.SecretTypeServiceAccountToken)
}

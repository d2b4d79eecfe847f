package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/ref"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
	"github.com/kubectl-velero/kubectl-velero/pkg/transform"
)

// snapshots is what the restore knows of the CSI snapshots that it brings back, and
// of the cluster's drivers. It is safe for concurrent use.
type snapshots struct {
	*operation

	mu      sync.Mutex
	made    map[string]int    // by name: a snapshot and its content make two
	of      map[string]string // the drivers of contents, by their names in this restore
	classes func() []snapshotClass
	drivers map[string]look[bool]
	storage map[string]look[string]
	// defaults has, under no name, the default storage class.
	defaults map[string]look[storageClass]
}

// snapshotClass is a VolumeSnapshotClass of the cluster.
type snapshotClass struct{ name, driver string }

func newSnapshots(o *operation) *snapshots {
	return &snapshots{
		operation: o, made: map[string]int{}, of: map[string]string{},
		drivers: map[string]look[bool]{}, storage: map[string]look[string]{}, defaults: map[string]look[storageClass]{},
	}
}

// snapshotName is what a snapshot of the backup is called in this restore.
func (o *operation) snapshotName(namespace, name string) string {
	return csi.RestoreName(string(o.restore.UID), namespace+"/"+name)
}

// isSnapshot reports whether objects of a kind are snapshots or their contents.
func isSnapshot(resource schema.GroupResource) bool {
	return resource == transform.VolumeSnapshots || resource == transform.VolumeSnapshotContents
}

// note notes what became of a snapshot, or of its content.
func (s *snapshots) note(r result) {
	if !isSnapshot(r.place.Resource.GroupResource()) || r.action != actionCreated {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made[r.place.Name]++
}

// noteDriver notes whose snapshot a content, as it is to be created, stands for.
func (s *snapshots) noteDriver(obj *transform.Object) {
	var spec struct{ Driver string }
	if obj.Read("spec", &spec) != nil { // the API server says what is wrong with it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[obj.Name()] = spec.Driver
}

// driverOf is the driver of a content by its name in this restore; empty when that
// isn't known.
func (s *snapshots) driverOf(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[name]
}

// whole reports whether both a snapshot and its content were made.
func (s *snapshots) whole(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[name] > 1
}

// anyOf reports whether a snapshot or its content was made.
func (s *snapshots) anyOf(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[name] > 0
}

// class is the VolumeSnapshotClass for a driver: that of the name it had, else the
// first of the cluster's, else the one of the backup when it comes back too; empty
// when there is none.
func (s *snapshots) class(ctx context.Context, driver, name string) string {
	s.mu.Lock()
	if s.classes == nil {
		s.classes = sync.OnceValue(func() []snapshotClass { return s.listClasses(ctx) })
	}
	list := s.classes
	s.mu.Unlock()
	var first string
	for _, class := range list() {
		if !strings.EqualFold(class.driver, driver) {
			continue
		}
		if class.name == name {
			return name
		}
		if first == "" || class.name < first {
			first = class.name
		}
	}
	comes := transform.Place{Resource: snapshotClassKind, Name: name}
	if first == "" && name != "" && s.contents.has(snapshotClassKind) && s.selection.place(comes) {
		return name
	}
	return first
}

// listClasses lists the classes; none where that can't be done.
func (s *snapshots) listClasses(ctx context.Context) []snapshotClass {
	list, err := s.Dynamic.Resource(snapshotClassKind.WithVersion("v1")).List(ctx, metav1.ListOptions{})
	if err != nil {
		s.Log.Warn("snapshot classes can't be listed; contents of snapshots come back without", "error", err)
		return nil
	}
	var classes []snapshotClass
	for _, item := range list.Items {
		driver, _ := item.Object["driver"].(string)
		classes = append(classes, snapshotClass{item.GetName(), driver})
	}
	return classes
}

// obstacle says why the volume of a claim can't be made from a CSI snapshot in this
// cluster; nil when nothing speaks against it. driver is empty where the backup
// doesn't name it.
func (s *snapshots) obstacle(ctx context.Context, obj *transform.Object, driver string) error {
	for _, resource := range []schema.GroupResource{transform.VolumeSnapshots, transform.VolumeSnapshotContents} {
		if _, served := s.served.Lookup(resource); !served && !s.brings(resource) {
			return fmt.Errorf("the cluster doesn't serve %s; hint: install the CSI snapshot controller and its definitions", resource)
		}
	}
	if driver != "" {
		if err := s.installed(ctx, driver); err != nil {
			return err
		}
	}
	return s.wrongClass(ctx, obj, driver)
}

// installed looks once whether a CSI driver is in the cluster.
func (s *snapshots) installed(ctx context.Context, driver string) error {
	_, err := once(&s.mu, s.drivers, driver, func() (bool, error) { return true, s.lookForDriver(ctx, driver) })
	return err
}

// lookForDriver looks for what a driver registers: itself, or on a node. Where that
// can't be read, it is taken to be there.
func (s *snapshots) lookForDriver(ctx context.Context, driver string) error {
	_, err := s.Kube.StorageV1().CSIDrivers().Get(ctx, driver, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return nil
	}
	nodes, err := s.Kube.StorageV1().CSINodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	for _, node := range nodes.Items {
		for _, d := range node.Spec.Drivers {
			if d.Name == driver {
				return nil
			}
		}
	}
	return fmt.Errorf("its snapshot is of CSI driver %q, which isn't installed in this cluster", driver)
}

// look is what was found out once.
type look[T any] func() (T, error)

// once finds something out for a key, however many ask for it at the same time.
func once[T any](mu *sync.Mutex, looks map[string]look[T], key string, find look[T]) (T, error) {
	mu.Lock()
	l := looks[key]
	if l == nil {
		l = sync.OnceValues(find)
		looks[key] = l
	}
	mu.Unlock()
	return l()
}

// errContentFirst is why a snapshot waits until the rest of its wave is there: its
// controller would look for its content in vain, and say so.
var errContentFirst = errors.New("its content comes first")

// holdBack puts a snapshot into the queue until its wave is done; it reports whether
// the object is one.
func (o *operation) holdBack(item archive.Item) bool {
	if item.Resource != transform.VolumeSnapshots || o.preview != nil {
		return false
	}
	place := ref.Object{Resource: item.Resource.WithVersion(""), Namespace: o.targetOf(item.Namespace), Name: item.Name}
	o.queue.add(waiting{item, result{retry: errContentFirst, place: place}})
	return true
}

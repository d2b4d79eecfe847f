package backup

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// Kinds that others need, or that need others.
var (
	podResource           = schema.GroupResource{Resource: "pods"}
	claimResource         = schema.GroupResource{Resource: "persistentvolumeclaims"}
	volumeResource        = schema.GroupResource{Resource: "persistentvolumes"}
	accountResource       = schema.GroupResource{Resource: "serviceaccounts"}
	namespaceResource     = schema.GroupResource{Resource: "namespaces"}
	priorityClassResource = schema.GroupResource{Group: "scheduling.k8s.io", Resource: "priorityclasses"}
	bindingResource       = schema.GroupResource{Group: rbacGroup, Resource: "clusterrolebindings"}
	clusterRoleResource   = schema.GroupResource{Group: rbacGroup, Resource: "clusterroles"}
	definitionResource    = schema.GroupResource{Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"}
)

// Kinds that come in through snapshots of this backup.
var (
	snapshotResource        = schema.GroupResource{Group: snapshotGroup, Resource: "volumesnapshots"}
	snapshotContentResource = schema.GroupResource{Group: snapshotGroup, Resource: "volumesnapshotcontents"}
	snapshotClassResource   = schema.GroupResource{Group: snapshotGroup, Resource: "volumesnapshotclasses"}
	secretResource          = schema.GroupResource{Resource: "secrets"}
)

const (
	snapshotGroup      = "snapshot.storage.k8s.io"
	groupSnapshotGroup = "groupsnapshot.storage.k8s.io"
)

// takenResources are the kinds whose objects stand for snapshots, or ask for them:
// restored as they are they would have others taken.
func takenResources() []schema.GroupResource {
	return []schema.GroupResource{
		snapshotResource, snapshotContentResource,
		{Group: groupSnapshotGroup, Resource: "volumegroupsnapshots"}, {Group: groupSnapshotGroup, Resource: "volumegroupsnapshotcontents"},
	}
}

const rbacGroup = "rbac.authorization.k8s.io"

// place is a namespace and a name; the namespace is empty for cluster-scoped
// objects.
type place struct{ namespace, name string }

// places is a set of them.
type places map[place]bool

// needs collects the names of objects that the stored ones can't do without,
// and which of their kinds are stored. Only names are held. It is safe for
// concurrent use while objects are stored.
type needs struct {
	mu              sync.Mutex
	namespaces      map[string]bool
	kinds           map[schema.GroupResource]bool // of which at least one object is stored
	claims          places
	volumes         places
	priorityClasses places
	accounts        places
	clusterRoles    places
	// fsClaims are the claims that a pod wants saved file by file.
	fsClaims map[place]volume.PodVolume
	// have holds the objects of the kinds that may be needed that are dealt with:
	// stored, or kept out for good.
	have map[schema.GroupResource]places
}

func newNeeds() *needs {
	n := &needs{
		namespaces: map[string]bool{}, kinds: map[schema.GroupResource]bool{}, claims: places{}, volumes: places{},
		priorityClasses: places{}, accounts: places{}, clusterRoles: places{}, fsClaims: map[place]volume.PodVolume{}, have: map[schema.GroupResource]places{},
	}
	for _, gr := range []schema.GroupResource{
		podResource, claimResource, volumeResource, namespaceResource, priorityClassResource,
		bindingResource, clusterRoleResource, definitionResource, snapshotClassResource,
	} {
		n.have[gr] = places{}
	}
	return n
}

func (n *needs) kind(gr schema.GroupResource, namespace string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kinds[gr] = true
	if namespace != "" {
		n.namespaces[namespace] = true
	}
}

// settle notes that an object of a kind that may be needed is dealt with.
func (n *needs) settle(gr schema.GroupResource, at place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if have := n.have[gr]; have != nil {
		have[at] = true
	}
}

// pod notes a pod's claims and its priority class.
func (n *needs) pod(namespace string, pod podFacts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name := pod.Spec.PriorityClassName; name != "" {
		n.priorityClasses[place{name: name}] = true
	}
	for _, claim := range pod.claims(namespace) {
		n.claims[claim] = true
	}
}

// byFiles notes the claims that a pod wants saved file by file.
func (n *needs) byFiles(at place, pod podFacts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for claim, name := range pod.fsClaims(at.namespace) {
		n.fsClaims[claim] = volume.PodVolume{Pod: at.namespace + "/" + at.name, Volume: name}
	}
}

func (n *needs) account(at place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.accounts[at] = true
}

func (n *needs) volume(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.volumes[place{name: name}] = true
}

// missing returns the wanted objects of a kind that aren't dealt with.
func (n *needs) missing(gr schema.GroupResource, wanted places) places {
	missing := places{}
	for at := range wanted {
		if !n.have[gr][at] {
			missing[at] = true
		}
	}
	return missing
}

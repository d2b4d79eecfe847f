//go:build e2e

package tests

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
)

// uninstalls are the ways to remove an installation that must leave nothing.
var uninstalls = []struct {
	name     string
	commands [][]string
}{
	{"uninstall", [][]string{{"kubectl", "velero", "uninstall", "--force", "--wait"}}},
	{"by hand", [][]string{
		{"kubectl", "delete", "namespace/velero", "clusterrolebinding/velero"},
		{"kubectl", "delete", "crds", "-l", "component=velero"},
	}},
}

// TestInstallLeavesNothing lists every object of the cluster before an install
// and after each way to remove it.
func TestInstallLeavesNothing(t *testing.T) {
	s := alone(t)
	s.must("kubectl", "velero", "uninstall", "--force", "--wait") // what an earlier test has left
	for _, way := range uninstalls {
		t.Run(way.name, func(t *testing.T) {
			s := s.sub(t)
			before := s.everything()
			s.install()
			name := unique("small")
			s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", "default", "--wait")
			s.must("kubectl", "velero", "restore", "create", name, "--from-backup", name, "--wait")
			s.must("kubectl", "velero", "schedule", "create", name, "--schedule", "0 3 * * *", "--include-namespaces", "default")
			if diff := cmp.Diff(before, s.everything()); diff == "" {
				t.Error("an install makes no objects")
			}
			for _, command := range way.commands {
				s.must(command...)
			}
			var diff string
			// Owned objects are collected after their owner is gone.
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
				if diff = cmp.Diff(before, s.everything()); diff == "" {
					return
				}
			}
			t.Errorf("objects before and after (-missing +left):\n%s", diff)
		})
	}
}

// passing are objects that come and go in any cluster by themselves.
var passing = []string{"events", "events.events.k8s.io", "leases.coordination.k8s.io"}

// everything lists all objects of the cluster, as resource/namespace/name.
func (s *session) everything() []string {
	s.t.Helper()
	// Not the cached discovery: CRDs come and go here.
	lists, err := discovery.ServerPreferredResources(s.kube.Discovery())
	s.check(err)
	var all []string
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		s.check(err)
		for _, r := range list.APIResources {
			resource := gv.WithResource(r.Name)
			if !slices.Contains(r.Verbs, "list") || slices.Contains(passing, resource.GroupResource().String()) {
				continue
			}
			objects, err := s.dynamic.Resource(resource).List(s.t.Context(), metav1.ListOptions{})
			s.check(err)
			for _, object := range objects.Items {
				all = append(all, strings.Join([]string{resource.GroupResource().String(), object.GetNamespace(), object.GetName()}, "/"))
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestInstallAgain changes nothing, or what differs.
func TestInstallAgain(t *testing.T) {
	s := alone(t)
	s.install()
	versions := func() map[string]string {
		found := map[string]string{}
		for _, resource := range []schema.GroupVersionResource{
			{Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "serviceaccounts"}, {Version: "v1", Resource: "podtemplates"},
			{Group: "batch", Version: "v1", Resource: "cronjobs"}, {Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"},
		} {
			objects, err := s.dynamic.Resource(resource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
			s.check(err)
			for _, object := range objects.Items {
				found[resource.Resource+"/"+object.GetName()] = object.GetResourceVersion()
			}
		}
		return found
	}
	before := versions()
	s.install()
	// Maintenance and the location's state may be written by the product itself.
	delete(before, "cronjobs/velero-maintenance")
	after := versions()
	delete(after, "cronjobs/velero-maintenance")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a second install wrote (-before +after):\n%s", diff)
	}
}

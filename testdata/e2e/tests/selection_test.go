//go:build e2e

package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// selectionObjects stand in PLACE and in PLACE-b; PLACE-out doesn't want to be
// in backups.
const selectionObjects = `apiVersion: v1
kind: Namespace
metadata: {name: PLACE}
---
apiVersion: v1
kind: Namespace
metadata: {name: PLACE-b}
---
apiVersion: v1
kind: Namespace
metadata: {name: PLACE-out, labels: {velero.io/exclude-from-backup: "true"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: PLACE, labels: {tier: front}}
data: {colour: red}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, namespace: PLACE, labels: {tier: back}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hidden, namespace: PLACE, labels: {tier: front, velero.io/exclude-from-backup: "true"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: one, namespace: PLACE-b, labels: {tier: other}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inside, namespace: PLACE-out, labels: {tier: front}}
---
apiVersion: v1
kind: Secret
metadata: {name: db-main, namespace: PLACE, labels: {tier: back}}
---
apiVersion: v1
kind: Secret
metadata: {name: db-copy, namespace: PLACE}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: PLACE-high, labels: {tier: front}}
value: 7
`

// TestSelection selects by flags, as users do, and looks at what is in the
// archive; then it takes one object back.
func TestSelection(t *testing.T) {
	s := start(t)
	place := unique("select")
	s.apply(strings.ReplaceAll(selectionObjects, "PLACE", place))
	s.after("kubectl", "delete", "namespace", place, place+"-b", place+"-out", "--wait=false")
	s.after("kubectl", "delete", "priorityclass", place+"-high")
	// The group ends before the objects change.
	s.rest()
	t.Run("filters", func(t *testing.T) {
		// An underline in flags stands for a blank within one.
		for name, c := range map[string]struct{ flags, want string }{
			"globs":         {"--include-namespaces PLACE-* --include-resources cm,ns", "namespaces/PLACE-b configmaps/PLACE-b/one"},
			"newer filters": {"--include-namespaces PLACE --include-namespace-scoped-resources cm --include-cluster-scoped-resources priorityclasses", "namespaces/PLACE configmaps/PLACE/one configmaps/PLACE/two priorityclasses.scheduling.k8s.io/PLACE-high"},
			"selector":      {"--include-namespaces PLACE --selector tier=front", "namespaces/PLACE configmaps/PLACE/one"},
			"or selectors":  {"--include-namespaces PLACE,PLACE-b --include-resources cm,secret --or-selector tier=back_or_tier=other", "configmaps/PLACE/two configmaps/PLACE-b/one secrets/PLACE/db-main"},
			"objects":       {"--include-objects PLACE/cm/one,PLACE/secret/db-*", "namespaces/PLACE configmaps/PLACE/one secrets/PLACE/db-main secrets/PLACE/db-copy"},
			"all but":       {"--include-namespaces PLACE --include-resources cm,secrets --exclude-objects PLACE/secret/db-copy,PLACE/cm/t*", "configmaps/PLACE/one secrets/PLACE/db-main configmaps/PLACE/kube-root-ca.crt"},
		} {
			t.Run(name, func(t *testing.T) {
				s := s.beside(t)
				backup := unique("selection")
				flags := strings.Fields(strings.ReplaceAll(c.flags, "PLACE", place))
				for i := range flags {
					flags[i] = strings.ReplaceAll(flags[i], "_", " ")
				}
				s.must(slices.Concat([]string{"kubectl", "velero", "backup", "create", backup, "--wait"}, flags)...)
				want := strings.Fields(strings.ReplaceAll(c.want, "PLACE", place))
				slices.Sort(want)
				// What controllers make in every namespace comes with filters by kind.
				made := cmpopts.IgnoreSliceElements(func(item string) bool {
					return strings.HasSuffix(item, "/kube-root-ca.crt") || strings.HasPrefix(item, "serviceaccounts/")
				})
				if diff := cmp.Diff(want, s.stored(backup, place), made); diff != "" {
					t.Errorf("in the archive (-want +got):\n%s", diff)
				}
				s.must("kubectl", "velero", "backup", "delete", backup, "--confirm")
			})
		}
	})
	s.take()
	t.Run("one object comes back", func(t *testing.T) { selectionRoundTrip(s.sub(t), place) })
}

// stored lists the objects of an archive whose names have the text.
func (s *session) stored(backup, text string) []string {
	s.t.Helper()
	var items []string
	for _, e := range readTar(s.t, s.object("backups/"+backup+"/"+backup+".tar.gz")) {
		match := itemPath.FindStringSubmatch(e.header.Name)
		if match == nil || match[2] != "" || !strings.Contains(e.header.Name, text) {
			continue
		}
		scope := ""
		if namespace, ok := strings.CutPrefix(match[3], "namespaces/"); ok {
			scope = namespace + "/"
		}
		items = append(items, match[1]+"/"+scope+match[4])
	}
	slices.Sort(items)
	return items
}

func selectionRoundTrip(s *session, place string) {
	backup := unique("selection")
	s.must("kubectl", "velero", "backup", "create", backup, "--include-objects", place+"/cm/one", "--wait")
	s.must("kubectl", "-n", place, "delete", "configmap", "one", "two")
	s.must("kubectl", "velero", "restore", "create", backup, "--from-backup", backup, "--wait")
	if got := s.must("kubectl", "-n", place, "get", "configmap", "one", "-o", "jsonpath={.data.colour}"); got != "red" {
		s.t.Errorf("the ConfigMap comes back with colour %q", got)
	}
	s.exits(1, "kubectl", "-n", place, "get", "configmap", "two")
	s.must("kubectl", "velero", "backup", "delete", backup, "--confirm")
}

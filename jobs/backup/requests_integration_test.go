//go:build integration

package backup_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// requests notes what passes a proxy.
type requests struct {
	mu     sync.Mutex
	agents map[string]bool
	lists  map[string]int
	all    int
	writes []time.Time // patches of the Backup
}

func (q *requests) note(w http.ResponseWriter, r *http.Request, next http.Handler) {
	q.mu.Lock()
	q.all++
	q.agents[r.UserAgent()] = true
	if isList(r) {
		q.lists[r.URL.Path]++
	}
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/backups/") {
		q.writes = append(q.writes, time.Now())
	}
	q.mu.Unlock()
	next.ServeHTTP(w, r)
}

// A backup is kind to the API server: no request per object, and one status a
// second.
func TestABackupAsksForPagesNotForObjects(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.crowded()
	q := &requests{agents: map[string]bool{}, lists: map[string]int{}}
	f.clusterThrough(q.note)
	begin := time.Now()
	f.backUp("one", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	seconds := int(time.Since(begin).Seconds())
	pages := 0
	for path, n := range q.lists {
		if pages += n; n > 3 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
	if q.all > pages+40 {
		t.Errorf("%d requests for %d pages", q.all, pages)
	}
	if len(q.writes) > seconds+8 {
		t.Errorf("the Backup was written %d times in %d s", len(q.writes), seconds)
	}
	for agent := range q.agents {
		if !strings.HasPrefix(agent, "kubectl-velero/") {
			t.Errorf("user agent %q", agent)
		}
	}
}

// What is stored is what the API server has, byte for byte where nothing must
// be changed.
func TestStoredObjectsAreThoseOfTheAPIServer(t *testing.T) {
	f := newFixture(t)
	f.manifests(oneOfEach)
	f.manifests(`# configmaps
{apiVersion: v1, kind: ConfigMap, metadata: {name: signs, namespace: APP}, data: {a: "<&>\u2028\u00e4\u0001\\ \"", b: ""}}
---
# regions
{apiVersion: APP.example.com/v1, kind: Region, metadata: {name: numbers}, spec: {big: 9007199254740993, float: 1.5, deep: [[{}], null, true], empty: {}}}
`)
	f.backUp("all", report.Completed, velerov1.BackupSpec{SnapshotVolumes: new(bool)})
	compared := 0
	for _, o := range f.objects("all") {
		var stored unstructured.Unstructured
		if err := stored.UnmarshalJSON(o.body); err != nil {
			t.Errorf("%s: %v", o, err)
			continue
		}
		gvr := schema.ParseGroupResource(o.resource).WithVersion(o.version)
		live, err := f.dynamic.Resource(gvr).Namespace(o.namespace).Get(t.Context(), o.name, metav1.GetOptions{})
		if err != nil {
			t.Errorf("%s: %v", o, err)
			continue
		}
		if live.GetResourceVersion() != stored.GetResourceVersion() || o.resource == "persistentvolumeclaims" {
			continue // it has changed since, or is changed on purpose
		}
		if compared++; !reflect.DeepEqual(live.Object, stored.Object) {
			want, _ := json.Marshal(live.Object)
			t.Errorf("%s is stored as\n%s\nthe API server has\n%s", o, o.body, want)
		}
	}
	if compared < 100 {
		t.Errorf("only %d objects were compared", compared)
	}
}

func TestTheEndIsAnEventOnTheBackup(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.configMap("kept", nil)
	f.backUp("good", report.Completed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app}})
	f.backUp("bad", report.PartiallyFailed, velerov1.BackupSpec{IncludedNamespaces: []string{f.app, "nowhere"}})
	events, err := f.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(f.velero).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for backup, want := range map[string]string{"good": "Normal", "bad": "Warning"} {
		found := ""
		for _, event := range events.Items {
			if name, _, _ := unstructured.NestedString(event.Object, "involvedObject", "name"); name == backup {
				kind, _, _ := unstructured.NestedString(event.Object, "type")
				message, _, _ := unstructured.NestedString(event.Object, "message")
				found += kind + " " + message + "\n"
			}
		}
		if !strings.Contains(found, want+" ") || (backup == "bad") != strings.Contains(found, "nowhere") {
			t.Errorf("events on %s: %q", backup, found)
		}
	}
}

//go:build integration

package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var configMaps = cluster.Resource{
	GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Kind: "ConfigMap", Namespaced: true,
}

// world is the API server with namespaces of the test's own.
type world struct {
	*testing.T
	rest *rest.Config
	kube kubernetes.Interface
}

func newWorld(t *testing.T, namespaces ...string) *world {
	t.Helper()
	w := &world{T: t, rest: testenv.APIServer(t)}
	kube, err := kubernetes.NewForConfig(w.rest)
	w.must(err)
	w.kube = kube
	for _, ns := range namespaces {
		_, err := kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
		w.must(err)
	}
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) create(namespace, name string, data string) {
	w.Helper()
	_, err := w.kube.CoreV1().ConfigMaps(namespace).Create(w.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"set": namespace, "last": name[len(name)-1:]}},
		Data:       map[string]string{"data": data},
	}, metav1.CreateOptions{})
	w.must(err)
}

// fill creates n ConfigMaps, named so that their order is that of their numbers.
func (w *world) fill(namespace string, n int) []string {
	w.Helper()
	var group errgroup.Group
	group.SetLimit(16)
	want := make([]string, n)
	for i := range n {
		want[i] = fmt.Sprintf("%s/cm-%04d", namespace, i)
		group.Go(func() error { w.create(namespace, fmt.Sprintf("cm-%04d", i), strings.Repeat("x", 200)); return nil })
	}
	w.must(group.Wait())
	return want
}

// compact has etcd forget all older snapshots, so that the API server can't
// continue a list.
func (w *world) compact() {
	w.Helper()
	dir := filepath.Dir(testenv.Kubeconfig(w))
	text, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	w.must(err)
	var record struct{ Ports struct{ Etcd int } }
	w.must(json.Unmarshal(text, &record))
	pki := filepath.Join(dir, "pki")
	certificate, err := tls.LoadX509KeyPair(filepath.Join(pki, "apiserver-etcd-client.crt"), filepath.Join(pki, "apiserver-etcd-client.key"))
	w.must(err)
	ca, err := os.ReadFile(filepath.Join(pki, "etcd-ca.crt"))
	w.must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	etcd := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}}}
	list, err := w.kube.CoreV1().Namespaces().List(w.Context(), metav1.ListOptions{})
	w.must(err)
	body := strings.NewReader(fmt.Sprintf(`{"revision":%q}`, list.ResourceVersion))
	response, err := etcd.Post(fmt.Sprintf("https://127.0.0.1:%d/v3/kv/compaction", record.Ports.Etcd), "application/json", body)
	w.must(err)
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		w.Fatalf("compact: %s %s %v", response.Status, text, err)
	}
}

// keys lists ConfigMaps and returns namespace and name of each passed on.
func (w *world) keys(lister *cluster.Lister, opts cluster.ListOptions, each func(key string)) []string {
	w.Helper()
	var keys []string
	err := lister.List(w.Context(), configMaps, opts, func(o cluster.Object) error {
		keys = append(keys, o.Namespace+"/"+o.Name)
		if each != nil {
			each(o.Namespace + "/" + o.Name)
		}
		return nil
	})
	w.must(err)
	return keys
}

func wantKeys(t *testing.T, want, got []string) {
	t.Helper()
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestListOfARealAPIServer(t *testing.T) {
	// A key of the second namespace comes before one of the first.
	w := newWorld(t, "paging", "paging-two")
	want := append(w.fill("paging-two", 560), w.fill("paging", 620)...)
	lister := newLister(t, w.rest)

	var pages int
	got := w.keys(lister, cluster.ListOptions{LabelSelector: "set in (paging,paging-two)", OnPage: func(int, int) { pages++ }}, nil)
	wantKeys(t, want, got)
	if pages != 3 {
		t.Errorf("%d pages", pages)
	}
	var told [][2]int
	got = w.keys(lister, cluster.ListOptions{Namespace: "paging", OnPage: func(seen, remaining int) { told = append(told, [2]int{seen, remaining}) }}, nil)
	wantKeys(t, want[560:], got)
	if len(told) != 2 || told[0] != [2]int{500, 120} || told[1] != [2]int{620, 0} {
		t.Errorf("told of pages: %v", told)
	}
	got = w.keys(lister, cluster.ListOptions{Namespace: "paging", LabelSelector: "last=7"}, nil)
	if len(got) != 62 {
		t.Errorf("%d objects with the label", len(got))
	}
	got = w.keys(lister, cluster.ListOptions{FieldSelector: "metadata.namespace=paging-two,metadata.name=cm-0042"}, nil)
	wantKeys(t, []string{"paging-two/cm-0042"}, got)
	got = w.keys(lister, cluster.ListOptions{Namespace: "nowhere"}, nil)
	wantKeys(t, nil, got)
}

func TestGetFromARealAPIServer(t *testing.T) {
	w := newWorld(t, "single")
	w.create("single", "one", "data")
	lister := newLister(t, w.rest)
	var got corev1.ConfigMap
	var header cluster.Object
	err := lister.Get(t.Context(), configMaps, "single", "one", func(o cluster.Object) error {
		header = o
		return json.Unmarshal(o.AppendJSON(nil), &got)
	})
	w.must(err)
	if got.Kind != "ConfigMap" || got.Data["data"] != "data" || header.UID != string(got.UID) || header.Labels["set"] != "single" || header.Deleting {
		t.Errorf("got %+v, header %+v", got, header)
	}
	err = lister.Get(t.Context(), configMaps, "single", "two", func(cluster.Object) error { return nil })
	if !apierrors.IsNotFound(err) {
		t.Errorf("error %v", err)
	}
	other := configMaps
	other.Resource = "nothings"
	err = lister.List(t.Context(), other, cluster.ListOptions{}, func(cluster.Object) error { return nil })
	if !apierrors.IsNotFound(err) {
		t.Errorf("a kind that isn't served: %v", err)
	}
}

func TestListForbiddenKinds(t *testing.T) {
	w := newWorld(t)
	cfg := rest.CopyConfig(w.rest)
	cfg.Impersonate.UserName = "nobody"
	err := newLister(t, cfg).List(t.Context(), configMaps, cluster.ListOptions{}, func(cluster.Object) error { return nil })
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `User "nobody" cannot list resource "configmaps"`) {
		t.Errorf("error %v", err)
	}
}

// TestListLargeObjects has objects near etcd's bound, and compares every byte.
func TestListLargeObjects(t *testing.T) {
	w := newWorld(t, "large")
	want := map[string]string{}
	for i := range 3 {
		name := fmt.Sprintf("large-%d", i)
		want[name] = strings.Repeat(strconv.Itoa(i)+`"\ä`, 1_000_000/5)
		w.create("large", name, want[name])
	}
	got := map[string]string{}
	err := newLister(t, w.rest).List(t.Context(), configMaps, cluster.ListOptions{Namespace: "large"}, func(o cluster.Object) error {
		var configMap corev1.ConfigMap
		err := json.Unmarshal(o.AppendJSON(nil), &configMap)
		got[o.Name] = configMap.Data["data"]
		if configMap.Kind != "ConfigMap" || len(o.Raw) < 1_400_000 {
			t.Errorf("%s %s of %d bytes", configMap.Kind, o.Name, len(o.Raw))
		}
		return err
	})
	w.must(err)
	if !gocmp.Equal(want, got) {
		t.Error("the objects' data differ")
	}
}

func TestListCustomResources(t *testing.T) {
	w := newWorld(t)
	dynamicClient, err := dynamic.NewForConfig(w.rest)
	w.must(err)
	var definition unstructured.Unstructured
	w.must(yaml.Unmarshal([]byte(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: orders.listtest.example}
spec:
  group: listtest.example
  scope: Cluster
  names: {plural: orders, singular: order, kind: Order, listKind: OrderList, shortNames: [ord]}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1beta1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`), &definition.Object))
	definitions := dynamicClient.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	_, err = definitions.Create(t.Context(), &definition, metav1.CreateOptions{})
	w.must(err)
	gr := schema.GroupResource{Group: "listtest.example", Resource: "orders"}
	versions := w.served(gr)
	if len(versions) != 2 || versions[0].Version != "v1" || !versions[0].Preferred || versions[1].Version != "v1beta1" || versions[1].Preferred || !versions[1].Can("list", "get") {
		t.Fatalf("versions %+v", versions)
	}
	w.order(dynamicClient, gr.WithVersion("v1"))
	for _, res := range versions {
		lister := newLister(t, w.rest)
		check := func(o cluster.Object) error {
			if o.APIVersion != "listtest.example/"+res.Version || o.Kind != "Order" || o.Name != "first" || string(o.AppendJSON(nil)) != string(o.Raw) {
				t.Errorf("%s %s %s %s", o.APIVersion, o.Kind, o.Name, o.Raw)
			}
			return nil
		}
		w.must(lister.List(t.Context(), res, cluster.ListOptions{}, check))
		w.must(lister.Get(t.Context(), res, "", "first", check))
	}
}

// served waits for a new kind.
func (w *world) served(gr schema.GroupResource) []cluster.Resource {
	w.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(w.rest)
	w.must(err)
	for range 100 {
		found, err := cluster.Discover(client)
		w.must(err)
		if versions := found.Versions(gr); len(versions) > 0 {
			return versions
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.Fatalf("%s is not served", gr)
	return nil
}

// order creates an Order as soon as that works.
func (w *world) order(client dynamic.Interface, gvr schema.GroupVersionResource) {
	w.Helper()
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": gvr.GroupVersion().String(), "kind": "Order", "metadata": map[string]any{"name": "first"}, "spec": map[string]any{"pieces": int64(3)},
	}}
	var err error
	for range 100 {
		if _, err = client.Resource(gvr).Create(w.Context(), obj, metav1.CreateOptions{}); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.Fatal(err)
}

// TestListGoesOnAfterACompaction has etcd forget the list's snapshot while its
// first page is read. It lists Events, which the API server doesn't cache: of
// other kinds it has snapshots of its own for a while.
func TestListGoesOnAfterACompaction(t *testing.T) {
	w := newWorld(t, "compaction")
	var group errgroup.Group
	group.SetLimit(16)
	want := make([]string, 1100)
	for i := range want {
		want[i] = fmt.Sprintf("event-%04d", i)
		group.Go(func() error { return w.event(want[i]) })
	}
	w.must(group.Wait())
	var got []string
	stale := 0
	events := cluster.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "events"}, Kind: "Event", Namespaced: true}
	opts := cluster.ListOptions{Namespace: "compaction", OnStale: func() { stale++ }}
	w.must(newLister(t, w.rest).List(t.Context(), events, opts, func(o cluster.Object) error {
		got = append(got, o.Name)
		if len(got) == 100 {
			w.change()
			w.compact()
		}
		return nil
	}))
	if stale != 1 {
		t.Errorf("told %d times of the newer snapshot", stale)
	}
	// The first page is old, the rest is new.
	want = slices.DeleteFunc(want, func(name string) bool { return name == "event-0700" })
	want = slices.Insert(want, 800, "event-0800-new")
	wantKeys(t, want, got)
}

func (w *world) event(name string) error {
	_, err := w.kube.CoreV1().Events("compaction").Create(w.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: name}, InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "compaction", Name: "web"},
	}, metav1.CreateOptions{})
	return err
}

// change makes a newer snapshot differ before and behind what was listed.
func (w *world) change() {
	w.Helper()
	for _, name := range []string{"event-0010", "event-0700"} {
		w.must(w.kube.CoreV1().Events("compaction").Delete(w.Context(), name, metav1.DeleteOptions{}))
	}
	w.must(w.event("event-0020-new"))
	w.must(w.event("event-0800-new"))
}

// cutter ends the bodies of lists early, at another place each time.
type cutter struct {
	http.RoundTripper
	cuts atomic.Int32
	then func(cut int32) // called after each cut
}

func (c *cutter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.RoundTripper.RoundTrip(request)
	if err != nil || c.cuts.Load() >= 30 {
		return response, err
	}
	n := c.cuts.Add(1)
	response.Body = &cutBody{ReadCloser: response.Body, left: int(n) * 7919, done: func() { c.then(n) }}
	return response, nil
}

type cutBody struct {
	io.ReadCloser
	left int
	done func()
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.done()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// TestListSurvivesCutResponses cuts responses while objects come and go: the
// list is that of its first snapshot nonetheless.
func TestListSurvivesCutResponses(t *testing.T) {
	w := newWorld(t, "cuts")
	want := w.fill("cuts", 700)
	cfg := rest.CopyConfig(w.rest)
	client := w.kube.CoreV1().ConfigMaps("cuts")
	c := &cutter{then: func(n int32) {
		if n == 1 {
			return // nothing was passed on yet
		}
		_ = client.Delete(context.Background(), fmt.Sprintf("cm-%04d", n), metav1.DeleteOptions{})
		w.create("cuts", fmt.Sprintf("cm-%04d-new", n), "")
	}}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { c.RoundTripper = rt; return c })
	stale := 0
	got := w.keys(newLister(t, cfg), cluster.ListOptions{Namespace: "cuts", OnStale: func() { stale++ }}, nil)
	wantKeys(t, want, got)
	if stale != 0 || c.cuts.Load() < 15 {
		t.Errorf("stale %d times, %d cuts", stale, c.cuts.Load())
	}
}

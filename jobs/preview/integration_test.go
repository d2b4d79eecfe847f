//go:build integration

package preview_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/preview"
	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// world is an installation and a namespace that is backed up, changed, and
// restored.
type world struct {
	*installed.Installation
	t   *testing.T
	app string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Installation: installed.New(t), t: t}
	w.app = w.Namespace + "-app"
	_, err := w.Kube.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.app}}, metav1.CreateOptions{})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// as is what a Job with this account works with.
func (w *world) as(account string) *run.Env {
	w.t.Helper()
	env := *w.Env
	env.REST = rest.CopyConfig(w.Env.REST)
	env.REST.Impersonate.UserName = "system:serviceaccount:" + w.Namespace + ":" + account
	var err error
	env.Client, err = client.New(env.REST)
	w.must(err)
	env.Kube, err = kubernetes.NewForConfig(env.REST)
	w.must(err)
	env.Dynamic, err = dynamic.NewForConfig(env.REST)
	w.must(err)
	env.Discovery = env.Kube.Discovery()
	env.LogText = func() ([]byte, error) { return nil, nil }
	return &env
}

func (w *world) backUp(name string) {
	w.t.Helper()
	b := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: installed.Alive()},
		Spec:       velerov1.BackupSpec{StorageLocation: velerov1.DefaultName, IncludedNamespaces: []string{w.app}},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}
	_, err := w.Velero.Backups(w.Namespace).Create(w.t.Context(), b, metav1.CreateOptions{})
	w.must(err)
	summary, err := backup.Run(w.t.Context(), backup.Config{Env: w.as(launch.ServiceAccount), Name: name})
	w.must(err)
	if summary.Outcome != report.Completed {
		w.t.Fatalf("backup: %+v", summary)
	}
}

// configMap writes one; it is created or changed.
func (w *world) configMap(name, value string, immutable bool) {
	w.t.Helper()
	configMaps := w.Kube.CoreV1().ConfigMaps(w.app)
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value}, Immutable: &immutable}
	_, err := configMaps.Create(w.t.Context(), c, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = configMaps.Update(w.t.Context(), c, metav1.UpdateOptions{})
	}
	w.must(err)
}

// preview does what the plugin and a Job do: it binds the rights, creates the Job
// that carries the spec, and asks the executor.
func (w *world) preview(r *velerov1.Restore, query string) ([]report.PreviewItem, report.PreviewEnd) {
	w.t.Helper()
	ctx := w.t.Context()
	template, err := launch.Template(ctx, w.Kube, w.Namespace)
	w.must(err)
	spec, err := json.Marshal(r)
	w.must(err)
	uid := uuid.NewUUID()
	rights := launch.Rights{Kube: w.Kube, Namespace: w.Namespace, Operation: velerov1.OperationPreview}
	w.must(rights.Bind(ctx, r.Spec.BackupName, uid))
	job, err := launch.Start(ctx, w.Kube, launch.Job(template, launch.Operation{
		Kind: velerov1.OperationPreview, Namespace: w.Namespace, Name: r.Spec.BackupName, UID: uid,
		ServiceAccount: launch.RestoreServiceAccount, Args: []string{"preview"},
		Annotations: map[string]string{velerov1.RestoreSpecAnnotation: string(spec)},
	}))
	w.must(err)
	env := w.as(launch.RestoreServiceAccount)
	testenv.AwaitRights(w.t, env.REST, authorizationv1.ResourceAttributes{Verb: "*", Group: "*", Resource: "*"})
	env.JobName = job.Name
	items, end := w.ask(env, query)
	w.checkUnbound(uid)
	return items, end
}

// ask runs the executor and is its client.
func (w *world) ask(env *run.Env, query string) ([]report.PreviewItem, report.PreviewEnd) {
	w.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	w.must(err)
	hash := sha256.Sum256([]byte(token))
	ended := make(chan error)
	go func() {
		summary, err := preview.Run(w.t.Context(), preview.Config{
			Env: env, TokenSHA256: hex.EncodeToString(hash[:]), Listener: listener,
			Make: func(ctx context.Context, r *velerov1.Restore, diff bool, emit func(report.PreviewItem) error, progress func(int)) report.PreviewEnd {
				return restore.Preview(ctx, restore.Config{Env: env}, r, diff, emit, progress)
			},
		})
		if err == nil && summary.Outcome != report.Completed {
			err = fmt.Errorf("%+v", summary)
		}
		ended <- err
	}()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/preview"+query, http.NoBody)
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(request)
	w.must(err)
	defer response.Body.Close()
	items, end := events(w.t, io.Reader(response.Body))
	w.must(<-ended)
	if end == nil || end.Reason != "" {
		w.t.Fatalf("end %+v", end)
	}
	return items, *end
}

func (w *world) checkUnbound(uid types.UID) {
	w.t.Helper()
	_, err := w.Kube.RbacV1().ClusterRoleBindings().Get(w.t.Context(), launch.BindingName(uid), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		w.t.Errorf("the rights are left: %v", err)
	}
}

// restore runs the same for good, and returns what became of each object.
func (w *world) restore(r *velerov1.Restore) []string {
	w.t.Helper()
	r = r.DeepCopy()
	r.Annotations, r.Status.Phase = installed.Alive(), velerov1.RestorePhaseInProgress
	r.Annotations[velerov1.AttemptAnnotation] = "0"
	r.Annotations[velerov1.RetryForAnnotation] = "1s"
	created, err := w.Velero.Restores(w.Namespace).Create(w.t.Context(), r, metav1.CreateOptions{})
	w.must(err)
	w.Bind(created.Name, created.UID)
	_, err = restore.Run(w.t.Context(), restore.Config{Env: w.as(launch.RestoreServiceAccount), Name: created.Name})
	w.must(err)
	var list map[string][]string
	w.must(catalog.New(w.Bucket).GetJSON(w.t.Context(), catalog.RestoreFile(r.Name, catalog.RestoreResourceList), &list))
	var all []string
	delete(list, "v1/Namespace") // the namespaces that are there are no news to a preview
	for kind, entries := range list {
		for _, entry := range entries {
			all = append(all, kind+" "+entry)
		}
	}
	slices.Sort(all)
	return all
}

// becomes says of each object what the resource list of a restore would say: one
// that differs and is left as it is counts as failed there.
func becomes(items []report.PreviewItem) []string {
	words := map[report.PreviewAction]string{
		report.PreviewCreate: "created", report.PreviewUpdate: "updated", report.PreviewRecreate: "created",
		report.PreviewUnchanged: "skipped", report.PreviewSkip: "failed", report.PreviewRefuse: "failed",
	}
	var all []string
	for _, item := range items {
		gv := schema.GroupVersion{Group: schema.ParseGroupResource(item.Resource).Group, Version: item.Version}
		name := strings.TrimPrefix(item.Namespace+"/"+item.Name, "/")
		all = append(all, fmt.Sprintf("%s/%s %s(%s)", gv, item.Kind, name, words[item.Action]))
	}
	slices.Sort(all)
	return all
}

// versions are the objects that the namespace has, with their resourceVersions.
func (w *world) versions() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, kind := range []string{"configmaps", "secrets", "services", "resourcequotas", "serviceaccounts"} {
		list, err := w.Env.Dynamic.Resource(corev1.SchemeGroupVersion.WithResource(kind)).Namespace(w.app).List(w.t.Context(), metav1.ListOptions{})
		w.must(err)
		for _, object := range list.Items {
			all[kind+"/"+object.GetName()] = object.GetResourceVersion()
		}
	}
	return all
}

// TestAPreviewTellsWhatTheRestoreDoes changes what was backed up in every way that
// matters, looks, and then restores: each object becomes what was told.
func TestAPreviewTellsWhatTheRestoreDoes(t *testing.T) {
	t.Parallel()
	for policy, want := range map[velerov1.PolicyType]map[report.PreviewAction]int{
		velerov1.PolicyTypeNone:     {report.PreviewUnchanged: 1, report.PreviewSkip: 2, report.PreviewCreate: 2, report.PreviewRefuse: 1},
		velerov1.PolicyTypeUpdate:   {report.PreviewUnchanged: 1, report.PreviewUpdate: 1, report.PreviewCreate: 2, report.PreviewRefuse: 2},
		velerov1.PolicyTypeRecreate: {report.PreviewUnchanged: 1, report.PreviewRecreate: 2, report.PreviewCreate: 2, report.PreviewRefuse: 1},
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.prepare()
			r := &velerov1.Restore{
				ObjectMeta: metav1.ObjectMeta{Name: "back", Namespace: w.Namespace},
				Spec:       velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: policy, ExcludedResources: []string{"serviceaccounts"}},
			}
			before := w.versions()
			items, end := w.preview(r, "")
			if diff := cmp.Diff(before, w.versions()); diff != "" {
				t.Errorf("the preview changed (-before +after):\n%s", diff)
			}
			if diff := cmp.Diff(want, end.Counts); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(w.restore(r), becomes(items)); diff != "" {
				t.Errorf("what became of objects (-restored +told):\n%s", diff)
			}
		})
	}
}

// TestNothingDiffersAfterARestore restores over what has changed, and looks.
func TestNothingDiffersAfterARestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configMap("changed", "1", false)
	w.configMap("same", "1", false)
	w.backUp("b")
	w.configMap("changed", "2", false)
	r := &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Name: "back", Namespace: w.Namespace},
		Spec:       velerov1.RestoreSpec{BackupName: "b", ExistingResourcePolicy: velerov1.PolicyTypeUpdate},
	}
	w.restore(r)
	r.Name, r.Spec.ExistingResourcePolicy = "look", ""
	items, _ := w.preview(r, "?diff=true")
	for _, item := range items {
		if len(item.Wanted) > 0 {
			t.Errorf("%s %s: %s\nlive   %s\nwanted %s", item.Kind, item.Name, item.Action, item.Live, item.Wanted)
		}
	}
}

// prepare makes a backup b, and then changes what it holds.
func (w *world) prepare() {
	w.t.Helper()
	ctx := w.t.Context()
	for _, name := range []string{"same", "changed", "gone"} {
		w.configMap(name, "1", false)
	}
	w.configMap("fixed", "1", true)
	_, err := w.Kube.CoreV1().Secrets(w.app).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "no-room"}, StringData: map[string]string{"a": "planted"}}, metav1.CreateOptions{})
	w.must(err)
	_, err = w.Kube.CoreV1().Services(w.app).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	w.must(err)
	w.backUp("b")

	w.configMap("changed", "2", false)
	w.must(w.Kube.CoreV1().ConfigMaps(w.app).Delete(ctx, "gone", metav1.DeleteOptions{}))
	w.must(w.Kube.CoreV1().ConfigMaps(w.app).Delete(ctx, "fixed", metav1.DeleteOptions{}))
	w.configMap("fixed", "2", true)
	w.must(w.Kube.CoreV1().Secrets(w.app).Delete(ctx, "no-room", metav1.DeleteOptions{}))
	w.must(w.Kube.CoreV1().Services(w.app).Delete(ctx, "web", metav1.DeleteOptions{}))
	hard := corev1.ResourceList{"count/secrets": resource.MustParse("0")}
	quota, err := w.Kube.CoreV1().ResourceQuotas(w.app).Create(ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}, metav1.CreateOptions{})
	w.must(err)
	// The controller that would write it doesn't run here.
	quota.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: hard}
	_, err = w.Kube.CoreV1().ResourceQuotas(w.app).UpdateStatus(ctx, quota, metav1.UpdateOptions{})
	w.must(err)
}

// TestADiffHasTheObjects looks at the bodies that a diff is made of.
func TestADiffHasTheObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.prepare()
	items, _ := w.preview(&velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Name: "look"},
		Spec:       velerov1.RestoreSpec{BackupName: "b", IncludedResources: []string{"configmaps"}},
	}, "?diff=true")
	type values struct{ live, wanted string }
	got := map[string]values{}
	for _, item := range items {
		if item.Kind == "ConfigMap" {
			got[item.Name] = values{valueOf(t, item.Live), valueOf(t, item.Wanted)}
		}
	}
	want := map[string]values{"same": {}, "changed": {"2", "1"}, "fixed": {"2", "1"}, "gone": {"", "1"}}
	if !maps.Equal(want, got) {
		t.Errorf("bodies %v, want %v", got, want)
	}
}

// valueOf is the value in a ConfigMap's JSON; empty without one.
func valueOf(t *testing.T, body json.RawMessage) string {
	t.Helper()
	if len(body) == 0 {
		return ""
	}
	var c corev1.ConfigMap
	if err := json.Unmarshal(body, &c); err != nil {
		t.Fatal(err)
	}
	if c.UID != "" || c.ResourceVersion != "" || c.Labels[velerov1.RestoreNameLabel] != "" && c.Labels[velerov1.RestoreNameLabel] != "look" {
		t.Errorf("it has what belongs to one life: %s", body)
	}
	return c.Data["value"]
}

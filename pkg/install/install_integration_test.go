//go:build integration

package install_test

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestInstallations goes through the life of installations. Its steps share one
// cluster and its cluster-scoped objects, so they come one after the other.
func TestInstallations(t *testing.T) {
	e := newEnv(t)
	before := e.everything(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *env)
	}{
		{"install, again, and changed", testInstall},
		{"the rights are what they should be", testRights},
		{"pods are as restricted as the namespace asks for", testRestricted},
		{"a schedule's CronJob follows", testSchedules},
		{"the kinds keep what Velero writes", testKinds},
		{"what stands in the way is told before anything changes", testObstacles},
		{"uninstall keeps the kinds that others use", testSecondInstallation},
		{"a claim that holds backups", testStorage},
		{"uninstall", testUninstall},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, e) }) {
			t.FailNow()
		}
	}
	e.mustEqual(t, before)

	t.Run("the documented kubectl commands", testKubectl(e, before))
	t.Run("the kinds alone", testKindsAlone(e))
}

func testInstall(t *testing.T, e *env) {
	first := e.apply(t, options())
	if got := actions(first); !slices.Equal(got, []install.Action{install.Created}) {
		t.Errorf("the first time: got actions %q in %v", got, first)
	}
	second := e.apply(t, options())
	if got := actions(second); !slices.Equal(got, []install.Action{install.Unchanged}) {
		t.Errorf("the second time: got actions %q in\n%s", got, lines(second))
	}
	if len(first) != len(second) {
		t.Errorf("got %d objects the first time and %d the second", len(first), len(second))
	}
	e.label(t, "velero", "team", "storage")
	third := e.apply(t, options(func(o *install.Options) {
		o.Image = "registry.example.com/executor:v2"
		delete(o.Location.Config, "s3ForcePathStyle")
	}))
	want := []string{
		"backupstoragelocation.velero.io/default configured",
		"podtemplate/velero configured",
		"cronjob.batch/velero-maintenance configured",
	}
	if diff := cmp.Diff(want, changed(third)); diff != "" {
		t.Errorf("what a new image and a setting less change (-want +got):\n%s", diff)
	}
	if got := e.namespace(t, "velero").Labels["team"]; got != "storage" {
		t.Errorf("a label of the namespace that others have set: got %q", got)
	}
	location, err := e.velero.BackupStorageLocations("velero").Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"region": "us-east-1"}, location.Spec.Config); diff != "" {
		t.Errorf("the location's settings (-want +got):\n%s", diff)
	}
	e.checkOwner(t, "velero")
}

// testRights asks the API server, for each account, what it may do.
func testRights(t *testing.T, e *env) {
	for _, test := range []struct {
		account, verb, group, resource, subresource, namespace string
		want                                                   bool
	}{
		{"velero", "list", "", "secrets", "", "shop", true},
		{"velero", "list", "shop.example.com", "widgets", "", "shop", true},
		{"velero", "get", "", "pods", "log", "velero", true},
		{"velero", "create", "", "pods", "exec", "shop", true},
		{"velero", "create", "snapshot.storage.k8s.io", "volumesnapshots", "", "shop", true},
		{"velero", "patch", "velero.io", "backups", "", "velero", true},
		{"velero", "create", "velero.io", "backups", "", "velero", true},
		{"velero", "create", "", "events", "", "velero", true},
		{"velero", "delete", "batch", "jobs", "", "velero", true},
		{"velero", "delete", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", true},
		{"velero", "create", "rbac.authorization.k8s.io", "clusterrolebindings", "", "", false},
		{"velero", "bind", "rbac.authorization.k8s.io", "clusterroles", "", "", false},
		{"velero", "patch", "velero.io", "backups", "", "shop", false},
		{"velero", "create", "", "events", "", "shop", false},
		{"velero", "create", "", "configmaps", "", "shop", false},
		{"velero", "create", "", "pods", "", "velero", false},
		{"velero", "update", "", "secrets", "", "velero", false},
		{"velero", "delete", "", "namespaces", "", "shop", false},
		{"velero", "delete", "", "persistentvolumes", "", "", false},
		{"velero-restore", "get", "", "configmaps", "", "velero", false},
		{"velero-restore", "get", "velero.io", "restores", "", "velero", false},
	} {
		review, err := e.kube.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User:   "system:serviceaccount:velero:" + test.account,
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:velero", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: test.namespace, Verb: test.verb, Group: test.group, Resource: test.resource, Subresource: test.subresource,
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if review.Status.Allowed != test.want {
			t.Errorf("%s may %s %s/%s.%s in %q: got %v", test.account, test.verb, test.resource, test.subresource, test.group, test.namespace, review.Status.Allowed)
		}
	}
}

// testRestricted starts maintenance by hand. The API server warns of a Job whose pods
// the namespace's Pod Security level would refuse.
func testRestricted(t *testing.T, e *env) {
	cron, err := e.kube.BatchV1().CronJobs("velero").Get(t.Context(), "velero-maintenance", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var warnings warnings
	cfg := rest.CopyConfig(e.cfg)
	cfg.WarningHandler = &warnings
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "by-hand"}, Spec: cron.Spec.JobTemplate.Spec}
	if _, err := kube.BatchV1().Jobs("velero").Create(t.Context(), job, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
	job.Spec.Template.Spec.SecurityContext = nil
	job.Spec.Template.Spec.Containers[0].SecurityContext = nil
	if got := warnings.all(); len(got) > 0 {
		t.Errorf("warnings: %q", got)
	}
	if _, err := kube.BatchV1().Jobs("velero").Create(t.Context(), job, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
	if got := warnings.all(); len(got) != 1 || !strings.Contains(got[0], `would violate PodSecurity "restricted:latest"`) {
		t.Errorf("warnings for an unrestricted pod: %q", got)
	}
}

func testSchedules(t *testing.T, e *env) {
	template, err := launch.Template(t.Context(), e.kube, "velero")
	if err != nil {
		t.Fatal(err)
	}
	cron := launch.CronJob(template, launch.Operation{
		Kind: velerov1.OperationSchedule, Namespace: "velero", Name: "nightly", Args: []string{"backup", "--schedule", "nightly"},
	}, "0 1 * * *", "", false)
	if _, err := e.kube.BatchV1().CronJobs("velero").Create(t.Context(), cron, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	newer := options(func(o *install.Options) {
		o.Image = "registry.example.com/executor:v3"
		o.Resources.Limits = corev1.ResourceList{}
		o.PodAnnotations = map[string]string{"example.com/team": "storage"}
		o.Features = []string{"EnableCSI"}
		o.PodEnv = []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}, {Name: "NO_PROXY", Value: "10.0.0.0/8"}}
	})
	if got := changed(e.apply(t, newer)); !slices.Contains(got, "cronjob.batch/schedule-nightly configured") {
		t.Errorf("got %q", got)
	}
	after, err := e.kube.BatchV1().CronJobs("velero").Get(t.Context(), cron.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := after.Spec.JobTemplate.Spec.Template
	executor := pod.Spec.Containers[0]
	if executor.Image != "registry.example.com/executor:v3" || len(executor.Resources.Limits) != 0 || len(executor.Resources.Requests) != 2 ||
		pod.Annotations["example.com/team"] != "storage" || !slices.Equal(executor.Args, []string{"backup", "--schedule", "nightly"}) {
		t.Errorf("the CronJob's pod is now %+v", pod)
	}
	if got := featuresOf(executor); got != "EnableCSI" || len(executor.Env) < 2 || !hasVariable(executor, "HTTPS_PROXY") || !hasVariable(executor, "NO_PROXY") {
		t.Errorf("with features the CronJob's variables are %+v", executor.Env)
	}
	if got := changed(e.apply(t, newer)); len(got) > 0 {
		t.Errorf("the next time: %q", got)
	}
	newer.Features, newer.PodEnv = nil, newer.PodEnv[:1]
	e.apply(t, newer)
	if after, err = e.kube.BatchV1().CronJobs("velero").Get(t.Context(), cron.Name, metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	executor = after.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
	if featuresOf(executor) != "" || len(executor.Env) == 0 || !hasVariable(executor, "HTTPS_PROXY") || hasVariable(executor, "NO_PROXY") || !hasVariable(executor, "JOB_UID") {
		t.Errorf("without features the CronJob's variables are %+v", executor.Env)
	}
}

func featuresOf(executor corev1.Container) string {
	for _, variable := range executor.Env {
		if variable.Name == "VELERO_FEATURES" {
			return variable.Value
		}
	}
	return ""
}

// testKinds writes status in a create, reads it back, and finds no status subresource.
func testKinds(t *testing.T, e *env) {
	backups := e.velero.Backups("velero")
	backup := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec:       velerov1.BackupSpec{TTL: metav1.Duration{Duration: 720 * time.Hour}, DataMover: "velero"},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress, Progress: &velerov1.BackupProgress{TotalItems: 3}},
	}
	made, err := backups.Create(t.Context(), backup, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(backup.Spec, made.Spec); diff != "" {
		t.Errorf("spec (-sent +kept):\n%s", diff)
	}
	if diff := cmp.Diff(backup.Status, made.Status); diff != "" {
		t.Errorf("status (-sent +kept):\n%s", diff)
	}
	patch := []byte(`{"status":{"phase":"Failed","failureReason":"store is down"}}`)
	if _, err := backups.Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err == nil {
		t.Error("there is a status subresource")
	}
	patched, err := backups.Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil || patched.Status.FailureReason != "store is down" {
		t.Errorf("got %+v, %v", patched.Status, err)
	}
	made.Status.Phase = "Unheard"
	if _, err := backups.Update(t.Context(), made, metav1.UpdateOptions{}); err == nil {
		t.Error("a phase that doesn't exist was accepted")
	}
}

func testObstacles(t *testing.T, e *env) {
	const ns = "obstacles"
	e.createNamespace(t, ns)
	o := options(func(o *install.Options) { o.Namespace = ns })
	deployments := e.kube.AppsV1().Deployments(ns)
	server := veleroServer(1)
	if _, err := deployments.Create(t.Context(), server, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.mustRefuse(t, o, `a Velero server (Deployment "backup-server") runs in namespace "obstacles" and would act on the same objects; `+
		"hint: use another namespace with --namespace, or scale the server to 0 first (`kubectl -n obstacles scale deployment backup-server --replicas=0`)")
	e.must(t, deployments.Delete(t.Context(), server.Name, metav1.DeleteOptions{}))

	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "velero-obstacles"}}
	if _, err := e.kube.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.mustRefuse(t, o, `ClusterRole "velero-obstacles" exists and isn't Velero's (it lacks the label component=velero); `+
		"hint: install into another namespace, which gives the role another name, or delete the ClusterRole if nothing needs it")
	e.must(t, e.kube.RbacV1().ClusterRoles().Delete(t.Context(), role.Name, metav1.DeleteOptions{}))

	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "velero-obstacles", Labels: map[string]string{"component": "velero"}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
	}
	if _, err := e.kube.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.mustRefuse(t, o, `ClusterRoleBinding "velero-obstacles" gives the ClusterRole "cluster-admin", and the role of a binding can't be changed; `+
		"hint: delete it with `kubectl delete clusterrolebinding velero-obstacles` if it is an old Velero installation's, and run install again; or install into another namespace")
	e.must(t, e.kube.RbacV1().ClusterRoleBindings().Delete(t.Context(), binding.Name, metav1.DeleteOptions{}))

	// Nobody removes this finalizer until the namespace was seen to be going.
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := e.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	e.must(t, e.kube.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}))
	e.mustRefuse(t, o, `namespace "obstacles" is being deleted; hint: run install again when it is gone (`+"`kubectl wait --for=delete namespace/obstacles`)")
	_, err := e.kube.CoreV1().ConfigMaps(ns).Patch(t.Context(), "held", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	e.must(t, err)
	e.waitGone(t, ns)

	_, err = install.Plan(t.Context(), e.cluster, "default")
	wantError(t, err, `namespace "default" can't hold an installation, since uninstall deletes its namespace; hint: choose another, such as velero`)
	e.createNamespace(t, ns)
	_, err = install.Plan(t.Context(), e.cluster, ns)
	wantError(t, err, `namespace "obstacles" isn't an installation's (it lacks the label component=velero), and uninstall would delete it; hint: name the installation's namespace with --namespace`)
	e.must(t, e.kube.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}))
	e.waitGone(t, ns)
}

func testSecondInstallation(t *testing.T, e *env) {
	first := e.everything(t)
	second := options(elsewhere)
	e.apply(t, second)
	e.checkOwner(t, "velero-backup")
	restoreBinding(t, e, "backup", "velero-backup")
	removal, err := install.Plan(t.Context(), e.cluster, "backup")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"clusterrolebinding.rbac.authorization.k8s.io/velero-restore-backup",
		"clusterrolebinding.rbac.authorization.k8s.io/velero-backup",
		"clusterrole.rbac.authorization.k8s.io/velero-backup",
		"namespace/backup",
	}
	if diff := cmp.Diff(want, names(removal)); diff != "" {
		t.Errorf("what goes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`namespace "velero" has an installation too`}, removal.Kept); diff != "" {
		t.Errorf("why the kinds stay (-want +got):\n%s", diff)
	}
	e.remove(t, removal)
	e.mustEqual(t, first)
}

func hasVariable(c corev1.Container, name string) bool {
	return slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.Name == name })
}

func testUninstall(t *testing.T, e *env) {
	restoreBinding(t, e, "velero", "velero")
	// A Restore from the days of a server, which nobody would take the finalizer off.
	restore := &velerov1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "old", Finalizers: []string{velerov1.RestoreFinalizer}},
		Status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress}}
	if _, err := e.velero.Restores("velero").Create(t.Context(), restore, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	removal, err := install.Plan(t.Context(), e.cluster, "velero")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"restore/old"}, removal.Running); diff != "" {
		t.Errorf("running (-want +got):\n%s", diff)
	}
	if len(removal.Kept) > 0 {
		t.Errorf("the kinds stay: %q", removal.Kept)
	}
	e.remove(t, removal)
	again, err := install.Plan(t.Context(), e.cluster, "velero")
	if err != nil || len(again.Objects()) > 0 {
		t.Errorf("afterwards there are %q, %v", names(again), err)
	}
}

// testKubectl runs the two commands that Velero documents.
func testKubectl(e *env, before []string) func(*testing.T) {
	return func(t *testing.T) {
		e.apply(t, options())
		restoreBinding(t, e, "velero", "velero")
		for _, args := range [][]string{
			{"delete", "namespace/velero", "clusterrolebinding/velero"},
			{"delete", "crds", "-l", "component=velero"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			command := exec.CommandContext(ctx, e.kubectl, append([]string{"--kubeconfig", testenv.Kubeconfig(t)}, args...)...)
			if out, err := command.CombinedOutput(); err != nil {
				t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		e.mustEqual(t, before)
	}
}

func testKindsAlone(e *env) func(*testing.T) {
	return func(t *testing.T) {
		changes := e.apply(t, install.Options{CRDsOnly: true})
		if len(changes) != 13 {
			t.Errorf("got %s", lines(changes))
		}
		e.must(t, install.Check(t.Context(), e.cluster, install.Options{CRDsOnly: true}))
	}
}

// warnings collects what the API server warns of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.texts)
}

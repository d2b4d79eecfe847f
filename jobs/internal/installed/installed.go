//go:build integration

package installed

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
	"github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/install"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// Installation is one in a namespace, and with a bucket, of its own.
type Installation struct {
	// Namespace is where it is.
	Namespace string
	// Env is what a Job with service account "velero" works with.
	Env *run.Env
	// Velero and Kube are an administrator's clients.
	Velero *client.Client
	Kube   kubernetes.Interface
	// Bucket is that of the location "default".
	Bucket store.Bucket

	tb testing.TB
}

var count atomic.Int32

// New installs.
func New(tb testing.TB) *Installation {
	tb.Helper()
	return NewOn(tb, testenv.APIServer(tb), testenv.S3(tb))
}

// NewOn installs in the cluster that admin leads to, with location as "default":
// a second one of the same bucket is a second cluster that uses it.
func NewOn(tb testing.TB, admin *rest.Config, location store.Location) *Installation {
	tb.Helper()
	i := &Installation{Namespace: fmt.Sprintf("velero-%d", count.Add(1)), tb: tb}
	bucket, err := store.Open(tb.Context(), location)
	i.must(err)
	i.Bucket = bucket
	var dyn dynamic.Interface
	i.Velero, i.Kube, dyn = i.clients(admin)
	i.must(install.Apply(tb.Context(), install.Cluster{Kubernetes: i.Kube, Dynamic: dyn}, install.Options{
		Namespace: i.Namespace, Image: "example.com/executor:1",
		Location: &install.Location{
			Provider: location.Provider, Bucket: location.Bucket, Prefix: location.Prefix,
			Config: location.Config, CACert: location.CACert,
		},
	}, func(install.Change) {}))
	i.Env = i.env(admin, bucket)
	return i
}

// env has the rights of the account that Jobs run as.
func (i *Installation) env(admin *rest.Config, bucket store.Bucket) *run.Env {
	i.tb.Helper()
	cfg := rest.CopyConfig(admin)
	cfg.Impersonate.UserName = "system:serviceaccount:" + i.Namespace + ":" + launch.ServiceAccount
	cfg.Impersonate.Groups = []string{"system:serviceaccounts", "system:authenticated"}
	testenv.AwaitRights(i.tb, cfg, // in the cluster, and in the installation's namespace
		authorizationv1.ResourceAttributes{Verb: "list", Group: velerov1.GroupName, Resource: "backups"},
		authorizationv1.ResourceAttributes{Verb: "create", Group: velerov1.GroupName, Resource: "backups", Namespace: i.Namespace})
	env := &run.Env{
		REST: cfg, Namespace: i.Namespace, Attempt: 1, LastAttempt: true, Log: slog.New(slog.DiscardHandler),
		OpenStore: func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return bucket, nil },
	}
	env.Client, env.Kube, env.Dynamic = i.clients(cfg)
	env.Discovery = env.Kube.Discovery()
	return env
}

func (i *Installation) clients(cfg *rest.Config) (*client.Client, kubernetes.Interface, dynamic.Interface) {
	i.tb.Helper()
	velero, err := client.New(cfg)
	i.must(err)
	kube, err := kubernetes.NewForConfig(cfg)
	i.must(err)
	dyn, err := dynamic.NewForConfig(cfg)
	i.must(err)
	return velero, kube, dyn
}

func (i *Installation) must(err error) {
	i.tb.Helper()
	if err != nil {
		i.tb.Fatal(err)
	}
}

// ClusterID is what claims of this cluster hold.
func (i *Installation) ClusterID() string {
	i.tb.Helper()
	namespace, err := i.Kube.CoreV1().Namespaces().Get(i.tb.Context(), metav1.NamespaceSystem, metav1.GetOptions{})
	i.must(err)
	return string(namespace.UID)
}

// Backup creates a Backup in a phase; annotations make it this program's.
func (i *Installation) Backup(name string, phase velerov1.BackupPhase, annotations map[string]string) *velerov1.Backup {
	i.tb.Helper()
	backup, err := i.Velero.Backups(i.Namespace).Create(i.tb.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec:       velerov1.BackupSpec{StorageLocation: velerov1.DefaultName},
		Status:     velerov1.BackupStatus{Phase: phase},
	}, metav1.CreateOptions{})
	i.must(err)
	return backup
}

// Alive are the annotations of a Backup or Restore of this program whose last
// sign of life lies ahead, so a test may take its time.
func Alive() map[string]string {
	return map[string]string{
		velerov1.AttemptAnnotation:   "1",
		velerov1.HeartbeatAnnotation: time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
}

// Restore creates a Restore of this program in a phase.
func (i *Installation) Restore(name, backup string, phase velerov1.RestorePhase, finalizers ...string) *velerov1.Restore {
	i.tb.Helper()
	restore, err := i.Velero.Restores(i.Namespace).Create(i.tb.Context(), &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Finalizers: finalizers, Annotations: Alive(),
		},
		Spec:   velerov1.RestoreSpec{BackupName: backup},
		Status: velerov1.RestoreStatus{Phase: phase},
	}, metav1.CreateOptions{})
	i.must(err)
	return restore
}

// Job creates the Job of an operation, as the plugin does.
func (i *Installation) Job(operation, name string, uid types.UID) string {
	i.tb.Helper()
	template, err := launch.Template(i.tb.Context(), i.Kube, i.Namespace)
	i.must(err)
	job, err := launch.Start(i.tb.Context(), i.Kube, launch.Job(template, launch.Operation{
		Kind: operation, Namespace: i.Namespace, Name: name, UID: uid, Args: []string{operation, "--name", name},
	}))
	i.must(err)
	return job.Name
}

// Bind gives the restore with this UID its rights, as the plugin does.
func (i *Installation) Bind(name string, uid types.UID) {
	i.tb.Helper()
	i.must(launch.Rights{Kube: i.Kube, Namespace: i.Namespace}.Bind(i.tb.Context(), name, uid))
}

// Events are those on objects of the installation, as "object reason".
func (i *Installation) Events() []string {
	i.tb.Helper()
	list, err := i.Kube.CoreV1().Events(i.Namespace).List(i.tb.Context(), metav1.ListOptions{})
	i.must(err)
	var all []string
	for _, e := range list.Items {
		all = append(all, describe(e))
	}
	return all
}

func describe(e corev1.Event) string {
	return e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name + " " + e.Reason
}

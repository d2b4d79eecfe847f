//go:build integration

package maintain_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"k8s.io/apimachinery/pkg/types"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	backupjob "github.com/kubectl-velero/kubectl-velero/jobs/backup"
	"github.com/kubectl-velero/kubectl-velero/jobs/internal/installed"
	"github.com/kubectl-velero/kubectl-velero/jobs/sync"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// user is an installation that backs up, syncs and maintains.
type user struct {
	*installed.Installation
	t *testing.T
}

func newUser(t *testing.T, cluster *rest.Config, location store.Location) *user {
	t.Helper()
	u := &user{Installation: installed.NewOn(t, cluster, location), t: t}
	u.Env.LogText = func() ([]byte, error) {
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		err := gz.Close()
		return b.Bytes(), err
	}
	return u
}

// otherAPIServer is a second cluster.
func otherAPIServer(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", testenv.OtherKubeconfig(t))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

// backUp makes a backup of next to nothing that is kept for ttl.
func (u *user) backUp(name string, ttl time.Duration) report.Summary {
	u.t.Helper()
	_, err := u.Velero.Backups(u.Namespace).Create(u.t.Context(), &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       velerov1.BackupSpec{IncludedNamespaces: []string{"default"}, TTL: metav1.Duration{Duration: ttl}},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}, metav1.CreateOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
	return u.goOn(name)
}

// goOn runs an attempt of the backup.
func (u *user) goOn(name string) report.Summary {
	u.t.Helper()
	summary, err := backupjob.Run(u.t.Context(), backupjob.Config{Env: u.Env, Name: name})
	if err != nil {
		u.t.Fatal(err)
	}
	return summary
}

func (u *user) sync(force bool) report.Summary {
	u.t.Helper()
	summary, err := sync.Run(u.t.Context(), sync.Config{Env: u.Env, Force: force})
	if err != nil {
		u.t.Fatal(err)
	}
	return summary
}

// get is a Backup; nil when there is none.
func (u *user) get(name string) *velerov1.Backup {
	u.t.Helper()
	b, err := u.Velero.Backups(u.Namespace).Get(u.t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		u.t.Fatal(err)
	}
	return b
}

// adopt lets the cluster take over what another one made.
func (u *user) adopt(ids string) {
	u.t.Helper()
	patch := []byte(`{"metadata":{"annotations":{"` + velerov1.AdoptedClustersAnnotation + `":"` + ids + `"}}}`)
	_, err := u.Velero.BackupStorageLocations(u.Namespace).Patch(u.t.Context(), velerov1.DefaultName, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
}

// keys are those in the bucket.
func (u *user) keys() []string {
	u.t.Helper()
	var all []string
	for info, err := range u.Bucket.List(u.t.Context(), "") {
		if err != nil {
			u.t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return all
}

// expectShown compares the names of the Backups in the cluster.
func (u *user) expectShown(want ...string) {
	u.t.Helper()
	list, err := u.Velero.Backups(u.Namespace).List(u.t.Context(), metav1.ListOptions{})
	if err != nil {
		u.t.Fatal(err)
	}
	var got []string
	for _, b := range list.Items {
		got = append(got, b.Name+" "+string(b.Status.Phase))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		u.t.Errorf("Backups (-want +got):\n%s", diff)
	}
}

// open makes the location's bucket what tests put in its place.
func (u *user) open(bucket store.Bucket) {
	u.Env.OpenStore = func(context.Context, *velerov1.BackupStorageLocation) (store.Bucket, error) { return bucket, nil }
}

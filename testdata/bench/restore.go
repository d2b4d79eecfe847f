package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// restoreBench measures restores into a bed whose data set was backed up, and
// is wiped before each.
type restoreBench struct {
	*bed
	dynamic dynamic.Interface
	etcd    *etcd
	// account is the kubeconfig of the account that restores run as; the floors
	// use it too.
	account string
	// mix is what is restored; applied the same with owners by server-side
	// apply.
	mix, applied *archived
}

// archived is a backup and what it holds.
type archived struct {
	backup string
	sums   sums
	// file has the items for the floor, kubeconfigs aside.
	file string
}

// measureRestores loads the mix, backs it up, and measures.
func measureRestores(ctx context.Context, o options, set dataSet) (_ *restoreResult, err error) {
	bed, err := startBed(ctx, o, set)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bed.stop(o.keep)) }()
	b := &restoreBench{bed: bed}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	return b.measureAll(ctx)
}

func (b *restoreBench) prepare(ctx context.Context) error {
	var err error
	if b.etcd, err = b.openEtcd(); err != nil {
		return err
	}
	if b.dynamic, err = dynamic.NewForConfig(b.admin); err != nil {
		return err
	}
	if err := b.bindRestores(ctx); err != nil {
		return err
	}
	if err := b.wipe(ctx); err != nil { // of a run with KEEP=1
		return err
	}
	begin := time.Now()
	if err := b.createAll(ctx); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	progress("%s loaded in %s", b.set.title(), time.Since(begin).Round(time.Second))
	b.kept = true
	if b.mix, err = b.backUp(ctx, "mix"); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if want := b.set.objects + len(b.set.namespaces()); len(b.mix.sums) != want {
		return fmt.Errorf("the backup holds %d objects, not %d", len(b.mix.sums), want)
	}
	return b.wipe(ctx)
}

// bindRestores gives the account of restores the rights that every restore has,
// for good: the floors need them too.
func (b *restoreBench) bindRestores(ctx context.Context) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bench-restore"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: launch.DefaultRestoreRole},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Name: launch.RestoreServiceAccount, Namespace: velerov1.DefaultNamespace,
		}},
	}
	_, err := b.kube.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	b.account, err = b.accountKubeconfig(ctx, launch.RestoreServiceAccount)
	return err
}

// backUp backs up what was loaded.
func (b *restoreBench) backUp(ctx context.Context, what string) (*archived, error) {
	backup := b.newBackup(what)
	backup.Spec.IncludedNamespaces = b.set.namespaces()
	if _, err := b.execute(ctx, backup, b.kubeconfig); err != nil {
		return nil, err
	}
	done, err := b.velero.Backups(velerov1.DefaultNamespace).Get(ctx, backup.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if err := checkStatus(done.Status); err != nil {
		return nil, fmt.Errorf("backup %q: %w", backup.Name, err)
	}
	a := &archived{backup: backup.Name, sums: sums{}, file: filepath.Join(b.folder, what+".json")}
	return a, b.writeItems(ctx, a)
}

// writeItems makes the floor's items out of an archive.
func (b *restoreBench) writeItems(ctx context.Context, a *archived) (err error) {
	file, err := os.Create(a.file)
	if err != nil {
		return err
	}
	buffer := bufio.NewWriter(file)
	defer func() { err = errors.Join(err, buffer.Flush(), file.Close()) }()
	encoder := json.NewEncoder(buffer)
	return b.eachArchived(ctx, a.backup, func(o object, body []byte) error {
		next, err := newItem(o, body)
		if err != nil {
			return err
		}
		if a.sums[o], err = sumOfBody(body); err != nil {
			return err
		}
		return encoder.Encode(next)
	})
}

// newItem prepares an object of an archive.
func newItem(o object, body []byte) (*item, error) {
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	group := schema.ParseGroupResource(o.resource)
	i := &item{Resource: group.WithVersion(u.GroupVersionKind().Version)}
	if !slices.Contains(restoredResources, i.Resource) {
		return nil, errors.New("the mix has no such kind")
	}
	if len(appliers(u.GetManagedFields())) > 0 {
		var meta struct {
			Metadata struct {
				ManagedFields json.RawMessage `json:"managedFields"`
			} `json:"metadata"`
		}
		if err := json.Unmarshal(body, &meta); err != nil {
			return nil, err
		}
		i.ManagedFields = meta.Metadata.ManagedFields
	}
	renew(&u)
	var err error
	i.Body, err = u.MarshalJSON()
	return i, err
}

func sumOfBody(body []byte) (uint64, error) {
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(body); err != nil {
		return 0, err
	}
	return sum(&u)
}

// makeApplied replaces the mix in the cluster by the same objects, applied on
// the server side, backs that up and wipes.
func (b *restoreBench) makeApplied(ctx context.Context) error {
	if _, err := b.create(ctx, createTask{File: b.mix.file, Workers: loaders, Apply: true}); err != nil {
		return fmt.Errorf("apply the mix: %w", err)
	}
	var err error
	if b.applied, err = b.backUp(ctx, "applied"); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return b.wipe(ctx)
}

// create runs the floor.
func (b *restoreBench) create(ctx context.Context, task createTask) (*createResult, error) {
	task.Kubeconfig = b.account
	input, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	time.Sleep(settle)
	process, err := b.run(ctx, input, self, createCommand)
	if err != nil {
		return nil, err
	}
	r := &createResult{}
	if err := json.Unmarshal(process.output, r); err != nil {
		return nil, fmt.Errorf("read what the floor says: %w", err)
	}
	return r, nil
}

// newRestore is a Restore as the plugin creates it.
func newRestore(suffix, backup string) *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "bench-" + strconv.FormatInt(time.Now().UnixNano(), 10) + "-" + suffix,
			Annotations: map[string]string{velerov1.AttemptAnnotation: "0"},
		},
		Spec:   velerov1.RestoreSpec{BackupName: backup},
		Status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseInProgress},
	}
}

// restore creates the Restore and lets the executor carry it out.
func (b *restoreBench) restore(ctx context.Context, restore *velerov1.Restore, kubeconfig string) (*taken, error) {
	if err := b.createRestore(ctx, restore); err != nil {
		return nil, err
	}
	time.Sleep(settle)
	return b.run(ctx, nil, b.executor, "restore", "--name", restore.Name, "-n", velerov1.DefaultNamespace,
		"--kubeconfig", kubeconfig, "--credentials-file", b.s3.CredentialsFile)
}

func (b *restoreBench) createRestore(ctx context.Context, restore *velerov1.Restore) error {
	_, err := b.velero.Restores(velerov1.DefaultNamespace).Create(ctx, restore, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Restore: %w", err)
	}
	return nil
}

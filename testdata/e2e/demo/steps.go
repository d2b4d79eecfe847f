package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/compare"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/shop"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/storage"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
)

// build is step 2.
func (d *demo) build(ctx context.Context) error {
	builds := []artifact.Build{artifact.Plugin(d.Tree), artifact.Executor(d.Tree), artifact.App(d.Tree)}
	if d.cluster.HostAddress == "" {
		builds = append(builds, artifact.Store(d.Tree))
	}
	for _, b := range builds {
		d.console.Say("$ %s", b)
		if err := b.Run(ctx, d.Tree); err != nil {
			return err
		}
	}
	var err error
	if d.images.executor, err = d.load(ctx, artifact.ExecutorName, artifact.ExecutorImage); err != nil {
		return err
	}
	if d.images.app, err = d.load(ctx, artifact.AppName, artifact.AppImage); err != nil {
		return err
	}
	if d.cluster.HostAddress == "" {
		d.images.store, err = d.load(ctx, artifact.StoreName, artifact.StoreImage)
	}
	return err
}

// loader makes an image.
type loader func(ctx context.Context, tree workspace.Tree) (v1.Image, error)

// load makes an image and brings it into the cluster.
func (d *demo) load(ctx context.Context, name string, make loader) (string, error) {
	img, err := make(ctx, d.Tree)
	if err != nil {
		return "", err
	}
	size, err := artifact.Size(img)
	if err != nil {
		return "", err
	}
	reference, err := d.cluster.Load(ctx, provider.Image{Name: name, Image: img})
	if err != nil {
		return "", err
	}
	d.console.Say("Image %s: %.1f MB compressed, from scratch, loaded into the cluster.", reference, float64(size)/1e6)
	return reference, nil
}

// startStorage is step 3.
func (d *demo) startStorage(ctx context.Context) (err error) {
	if d.cluster.HostAddress == "" {
		// The earlier server goes with all that is in it.
		if err := d.removeEarlier(ctx); err != nil {
			return err
		}
		d.server, err = storage.StartInCluster(ctx, d.console, storage.InClusterOptions{
			Bucket: bucket, StoreImage: d.images.store, AppImage: d.images.app, Folder: d.folder(),
		})
	} else {
		d.server, err = d.host().Start(ctx, d.cluster.HostAddress, bucket)
	}
	if err == nil {
		d.console.Say("versitygw answers at %s and has a bucket %q.", d.server.Endpoint, bucket)
	}
	return err
}

func (d *demo) host() storage.Host {
	return storage.Host{Folder: filepath.Join(d.folder(), "storage")}
}

// install is step 4.
func (d *demo) install(ctx context.Context) error {
	credentials := filepath.Join(d.folder(), "credentials")
	if err := d.server.WriteCredentials(credentials); err != nil {
		return err
	}
	if err := d.console.Run(ctx, "kubectl", "velero", "install",
		"--image", d.images.executor,
		"--provider", "aws", "--bucket", bucket, "--secret-file", credentials,
		"--backup-location-config", d.server.LocationConfig(), "--wait"); err != nil {
		return err
	}
	if d.cluster.HostAddress != "" {
		if err := d.removeEarlier(ctx); err != nil {
			return err
		}
	}
	files, err := shop.Manifests(d.Tree, filepath.Join(d.folder(), "shop"), shop.Values{
		Image: d.images.app, DataDir: d.dataDir(), StorageClass: d.class,
	})
	if err != nil {
		return err
	}
	if err := shop.Apply(ctx, d.console, files); err != nil {
		return err
	}
	if err := shop.WriteFile(ctx, d.console); err != nil {
		return err
	}
	if err := d.writeLedger(ctx); err != nil {
		return err
	}
	d.before, err = shop.Read(ctx, d.config)
	return err
}

// dataDir is the folder of the volume on the node; below the state folder where
// the node is this machine.
func (d *demo) dataDir() string {
	if d.cluster.Kind == provider.Local {
		return filepath.Join(d.folder(), "shop-data")
	}
	return "/var/tmp/kubectl-velero-demo/shop-data"
}

// removeEarlier removes the backup and the application of an earlier demo.
func (d *demo) removeEarlier(ctx context.Context) error {
	quiet := *d.console
	quiet.Quiet = true
	backup, err := quiet.Try(ctx, "kubectl", "-n", "velero", "get", "backups.velero.io", backupName, "-o", "name", "--ignore-not-found")
	if err != nil {
		return err
	}
	switch {
	case backup.Stdout != "":
		d.console.Say("An earlier demo left its backup.")
		if err := d.removeBackup(ctx); err != nil {
			return err
		}
	case d.server.HostEndpoint != "":
		// The cluster is new, the bucket is not: its backup would hold the name.
		if err := d.host().Remove(bucket, "backups/"+backupName); err != nil {
			return err
		}
	}
	namespace, err := quiet.Try(ctx, "kubectl", "get", "namespace", shop.Namespace, "-o", "name", "--ignore-not-found")
	if err != nil || namespace.Stdout == "" {
		return err
	}
	d.console.Say("An earlier demo left its application.")
	return shop.DeleteAll(ctx, d.console)
}

// removeBackup deletes the backup of an earlier demo. What a server in the cluster
// had may be lost, and the backup can't be deleted then: its record goes alone, for
// its name is taken else.
func (d *demo) removeBackup(ctx context.Context) error {
	if d.cluster.HostAddress != "" {
		return d.console.Run(ctx, "kubectl", "velero", "backup", "delete", backupName, "--confirm")
	}
	return errors.Join(
		deleteBackup(ctx, d.console),
		d.console.Run(ctx, "kubectl", "-n", "velero", "delete", "backups.velero.io", backupName, "--ignore-not-found"),
	)
}

// backup is step 5.
func (d *demo) backup(ctx context.Context) error {
	if err := d.console.Run(ctx, "kubectl", "velero", "backup", "create", backupName,
		"--include-namespaces", shop.Namespace, "--wait"); err != nil {
		return err
	}
	if err := d.console.Run(ctx, "kubectl", "velero", "backup", "get"); err != nil {
		return err
	}
	return d.changeLedger(ctx)
}

// disaster is step 6.
func (d *demo) disaster(ctx context.Context) error {
	lost := []string{"namespace/" + shop.Namespace, "persistentvolume/" + shop.Volume}
	if d.class != "" {
		volume, err := shop.LedgerVolume(ctx, d.console)
		if err != nil {
			return err
		}
		lost = append(lost, "persistentvolume/"+volume)
	}
	d.console.Say("The widget waits for a controller that this demo doesn't have, so its finalizer goes first.")
	if err := shop.Delete(ctx, d.console); err != nil {
		return err
	}
	// The CSI driver deletes its volume after the claim has gone.
	if err := d.console.Run(ctx, append([]string{"kubectl", "wait", "--for=delete", "--timeout=240s"}, lost...)...); err != nil {
		return err
	}
	if d.class != "" {
		d.console.Say("The database's volume has gone with its claim, and with it all that was written there.")
	}
	d.console.Say("The file of volume %s stays on the node's disk: it is a folder there, of which nobody can take a snapshot, and the backup has said so.", shop.Volume)
	return nil
}

// restore is step 7.
func (d *demo) restore(ctx context.Context) error {
	if err := d.console.Run(ctx, "kubectl", "velero", "restore", "create", "--from-backup", backupName, "--wait"); err != nil {
		return err
	}
	if err := shop.WaitRunning(ctx, d.console); err != nil {
		return err
	}
	if err := shop.ReadFile(ctx, d.console); err != nil {
		return err
	}
	return d.readLedger(ctx)
}

// compare is step 8.
func (d *demo) compare(ctx context.Context) error {
	exceptions, err := compare.Written()
	if err != nil {
		return err
	}
	read := func(ctx context.Context) (compare.State, error) { return shop.Read(ctx, d.config) }
	result, err := compare.Settle(ctx, 2*time.Minute, read, func(after compare.State) compare.Result {
		return compare.Compare(d.before, after, exceptions, compare.Options{})
	})
	if err != nil {
		return err
	}
	for _, difference := range result.Differences {
		d.console.Say("DIFFERS %s", difference)
	}
	if n := len(result.Differences); n > 0 {
		return fmt.Errorf("%d differences", n)
	}
	d.console.Say("%d objects are what they were, field by field. Allowed to differ:", result.Same)
	for _, reason := range slices.Sorted(maps.Keys(result.Excepted)) {
		d.console.Say("%5d × %s", result.Excepted[reason], reason)
	}
	d.console.Say("The whole list is testdata/e2e/compare/exceptions.yaml.")
	return nil
}

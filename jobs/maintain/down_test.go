package maintain_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/jobs/maintain"
	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/csi"
)

// dead are drivers of which "dir" uses up the time that it has for a snapshot.
type dead struct {
	*drivers
	asked []string
}

func (d *dead) Delete(ctx context.Context, h csi.Handle, timeout time.Duration) error {
	d.asked = append(d.asked, h.Snapshot)
	if h.Driver != "dir" {
		return nil
	}
	time.Sleep(timeout)
	return errors.New("no word of the driver")
}

// TestADeadDriverCostsItsTimeOnce: further expired backups with snapshots of it are
// left alone in this run, others go. The next run begins with one that wasn't tried.
func TestADeadDriverCostsItsTimeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, driver := range map[string]string{"0": "dir", "a": "dir", "b": "dir", "c": "other", "d": "dir"} {
		for key, body := range files("this-cluster", "uid-of-"+name) {
			w.put(t, strings.ReplaceAll(key, "shop", name), strings.ReplaceAll(body, `"shop"`, `"`+name+`"`))
		}
		w.put(t, "backups/"+name+"/"+name+"-volumeinfo.json.gz", gzipped(
			`[{"pvName":"pv","backupMethod":"CSISnapshot","result":"succeeded","csiSnapshotInfo":{"driver":"`+driver+`","snapshotHandle":"of-`+name+`"}}]`))
		w.api.Add(veleroNamespace+"backups", expired(func(b *velerov1.Backup) {
			if b.Name = name; name == "0" { // tried before
				b.Status.Phase, b.Annotations[velerov1.HeartbeatAnnotation] = velerov1.BackupPhaseDeleting, stamp(-time.Hour)
			}
		}))
	}
	for _, name := range []string{"dir", "other"} {
		w.api.Add("/apis/storage.k8s.io/v1/csidrivers", &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, want := range [][]string{{"of-a", "of-c"}, {"of-b"}} {
		d := &dead{drivers: &drivers{owner: csi.Owner{Backup: "a", UID: "uid-of-a"}}}
		_, err := maintain.Run(t.Context(), maintain.Config{Env: w.env, Drivers: d, SnapshotTimeout: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, d.asked); diff != "" {
			t.Errorf("asked for (-want +got):\n%s", diff)
		}
	}
	var left []string
	for _, u := range w.api.List(veleroNamespace + "backups") {
		left = append(left, u.GetName())
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"0", "a", "b", "d"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if told := w.events("BackupDeleteFailed"); len(told) != 2 {
		t.Errorf("told %q", told)
	}
}

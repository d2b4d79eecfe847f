//go:build integration

package restore_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/api/compute/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/ebs/ec2test"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/gcepd/gcetest"
)

// awsAccount is a cloud of EC2.
type awsAccount struct {
	*ec2test.Server
	ids map[string]string // of the disks that were added, by name
}

func startAWS(t *testing.T) cloud {
	return awsAccount{ec2test.Start(t), map[string]string{}}
}

func (a awsAccount) reachedBy(t *testing.T) snapshot.Config { return a.Config(t) }

func (a awsAccount) add(name string, disk ec2test.Disk) string {
	disk.Zone, disk.Tags = "eu-central-1b", map[string]string{"team": "shop"}
	a.ids[name] = a.AddDisk(disk)
	return a.ids[name]
}

func (a awsAccount) driven(name, content string) string {
	id := a.add(name, ec2test.Disk{Type: "io2", IOPS: 4000, Content: content})
	return `csi: {driver: ebs.csi.aws.com, fsType: ext4, volumeHandle: ` + id + `}`
}

func (a awsAccount) builtIn(name, content string) string {
	id := a.add(name, ec2test.Disk{Type: "gp2", Content: content})
	return `awsElasticBlockStore: {fsType: ext4, volumeID: "aws://eu-central-1b/` + id + `"}`
}

func (a awsAccount) overwrite(name, content string) { a.Write(a.ids[name], content) }

func (a awsAccount) find(pv *corev1.PersistentVolume) (cloudDisk, bool) {
	for _, disk := range a.Disks() {
		found := pv.Spec.CSI != nil && pv.Spec.CSI.VolumeHandle == disk.ID ||
			pv.Spec.AWSElasticBlockStore != nil && pv.Spec.AWSElasticBlockStore.VolumeID == "aws://"+disk.Zone+"/"+disk.ID
		if !found {
			continue
		}
		return cloudDisk{disk.Content, kindOf(disk.Type, int64(disk.IOPS)), disk.Zone, disk.Tags["team"]}, true
	}
	return cloudDisk{}, false
}

func (a awsAccount) count() int { return len(a.Disks()) }

func (a awsAccount) refuse(refuse bool) {
	a.ClearFaults()
	if refuse {
		a.Fault(ec2test.Fault{Action: "CreateVolume", Code: "VolumeLimitExceeded", Message: "You have exceeded your maximum storage limit."})
	}
}

// kindOf is a type with the speed that was chosen, if any was.
func kindOf(diskType string, iops int64) string {
	if iops == 0 {
		return diskType
	}
	return fmt.Sprintf("%s %d", diskType, iops)
}

// azureAccount is a cloud of Azure's resource manager.
type azureAccount struct{ *armtest.Server }

func startAzure(t *testing.T) cloud { return azureAccount{armtest.Start(t)} }

func (a azureAccount) reachedBy(t *testing.T) snapshot.Config { return a.Config(t, nil) }

func (a azureAccount) add(name, sku, content string, iops int64) string {
	return a.AddDisk(name, sku, func(disk *armtest.Resource) {
		disk.Zones, disk.Tags, disk.Content = []string{"2"}, map[string]string{"team": "shop"}, content
		disk.Properties.DiskIOPSReadWrite = iops
	})
}

func (a azureAccount) driven(name, content string) string {
	return `csi: {driver: disk.csi.azure.com, volumeHandle: ` + a.add(name, "PremiumV2_LRS", content, 5000) + `}`
}

func (a azureAccount) builtIn(name, content string) string {
	return `azureDisk: {kind: Managed, diskName: ` + name + `, diskURI: ` + a.add(name, "Premium_LRS", content, 0) + `}`
}

func (a azureAccount) overwrite(name, content string) { a.Write(armtest.DiskID(name), content) }

func (a azureAccount) find(pv *corev1.PersistentVolume) (cloudDisk, bool) {
	for _, disk := range a.Disks() {
		found := pv.Spec.CSI != nil && pv.Spec.CSI.VolumeHandle == disk.ID ||
			pv.Spec.AzureDisk != nil && pv.Spec.AzureDisk.DataDiskURI == disk.ID && pv.Spec.AzureDisk.DiskName == disk.Name
		if !found {
			continue
		}
		zone := disk.Location + "-" + strings.Join(disk.Zones, "+")
		return cloudDisk{disk.Content, kindOf(disk.SKU.Name, disk.Properties.DiskIOPSReadWrite), zone, disk.Tags["team"]}, true
	}
	return cloudDisk{}, false
}

func (a azureAccount) count() int { return len(a.Disks()) }

func (a azureAccount) refuse(refuse bool) {
	a.ClearFaults()
	if refuse {
		a.Fault(armtest.Fault{Method: http.MethodPut, Path: "/disks/", Status: http.StatusConflict, Code: "QuotaExceeded", Message: "Operation could not be completed as it results in exceeding approved quota."})
	}
}

// gcpAccount is a cloud of Compute Engine.
type gcpAccount struct{ *gcetest.Server }

func startGCP(t *testing.T) cloud { return gcpAccount{gcetest.Start(t)} }

func (a gcpAccount) reachedBy(*testing.T) snapshot.Config { return a.Config(nil) }

func (a gcpAccount) add(name, content string, disk compute.Disk) {
	disk.Name, disk.Labels = name, map[string]string{"team": "shop"}
	a.AddDisk(gcetest.Project, "europe-west1-b", disk)
	a.Write(name, content)
}

func (a gcpAccount) driven(name, content string) string {
	a.add(name, content, compute.Disk{Type: "hyperdisk-balanced", ProvisionedIops: 4000})
	return `csi: {driver: pd.csi.storage.gke.io, volumeHandle: projects/` + gcetest.Project + `/zones/europe-west1-b/disks/` + name + `}`
}

func (a gcpAccount) builtIn(name, content string) string {
	a.add(name, content, compute.Disk{Type: "pd-ssd"})
	return `gcePersistentDisk: {fsType: ext4, pdName: ` + name + `}`
}

func (a gcpAccount) overwrite(name, content string) { a.Write(name, content) }

func (a gcpAccount) find(pv *corev1.PersistentVolume) (cloudDisk, bool) {
	for _, disk := range a.Disks() {
		found := pv.Spec.CSI != nil && strings.HasSuffix(disk.SelfLink, "/"+pv.Spec.CSI.VolumeHandle) ||
			pv.Spec.GCEPersistentDisk != nil && pv.Spec.GCEPersistentDisk.PDName == disk.Name
		if !found {
			continue
		}
		_, zone, _ := strings.Cut(disk.SelfLink, "/zones/")
		zone, _, _ = strings.Cut(zone, "/")
		kind := disk.Type[strings.LastIndex(disk.Type, "/")+1:]
		return cloudDisk{a.Read(disk.Name), kindOf(kind, disk.ProvisionedIops), zone, disk.Labels["team"]}, true
	}
	return cloudDisk{}, false
}

func (a gcpAccount) count() int { return len(a.Disks()) }

func (a gcpAccount) refuse(refuse bool) {
	a.SetFaults()
	if refuse {
		a.SetFaults(gcetest.Fault{Method: "disks.insert", Operation: "QUOTA_EXCEEDED", Message: "Quota 'SSD_TOTAL_GB' exceeded."})
	}
}

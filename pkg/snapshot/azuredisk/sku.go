package azuredisk

import (
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
)

// skuOf is the disk's kind; empty if Azure doesn't tell.
func skuOf(disk *armcompute.Disk) armcompute.DiskStorageAccountTypes {
	if disk.SKU == nil || disk.SKU.Name == nil {
		return ""
	}
	return *disk.SKU.Name
}

// isProvisioned says that IOPS and throughput of such disks are chosen. They have
// incremental snapshots only, which are copied in the background:
// https://learn.microsoft.com/azure/virtual-machines/disks-incremental-snapshots
func isProvisioned(sku armcompute.DiskStorageAccountTypes) bool {
	return sku == armcompute.DiskStorageAccountTypesUltraSSDLRS || sku == armcompute.DiskStorageAccountTypesPremiumV2LRS
}

// isPremium says that such disks have a performance tier and bursting.
func isPremium(sku armcompute.DiskStorageAccountTypes) bool {
	return sku == armcompute.DiskStorageAccountTypesPremiumLRS || sku == armcompute.DiskStorageAccountTypesPremiumZRS
}

// isZoneRedundant says that such disks are in all zones.
func isZoneRedundant(sku armcompute.DiskStorageAccountTypes) bool {
	return strings.HasSuffix(string(sku), "_ZRS")
}

// zoneOf is Azure's number of the zone that a node's label names: 1 of
// "westeurope-1". A label without a dash names a fault domain, which is no zone.
func zoneOf(label string) string {
	i := strings.LastIndexByte(label, '-')
	if i < 0 {
		return ""
	}
	return label[i+1:]
}

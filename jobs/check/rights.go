package check

import (
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// kind is what a step needs to be allowed.
type kind int

const (
	reading kind = iota
	listing
	writing
	replacing
	deleting
	uploadsListing
	uploadsAborting
)

// kinds are those of the steps; every other one reads.
var kinds = map[string]kind{
	"connect": listing, "list": listing, "backups": listing,
	"create": writing, "create-if-absent": writing, "concurrent-create": writing, "upload": writing,
	"replace":    replacing,
	"uploads":    uploadsListing,
	"cut-upload": uploadsAborting,
	"old-probes": deleting, "delete": deleting,
}

// rights are what a provider calls them.
var rights = map[string]map[kind]string{
	settings.ProviderAWS: {
		listing:         "s3:ListBucket on the bucket",
		reading:         "s3:GetObject on the bucket's objects (and kms:Decrypt where a KMS key encrypts them)",
		writing:         "s3:PutObject on the bucket's objects (and kms:GenerateDataKey and kms:Decrypt where a KMS key encrypts them)",
		replacing:       "s3:PutObject on the bucket's objects",
		deleting:        "s3:DeleteObject on the bucket's objects",
		uploadsListing:  "s3:ListBucketMultipartUploads on the bucket",
		uploadsAborting: "s3:AbortMultipartUpload on the bucket's objects",
	},
	settings.ProviderAzure: {
		listing:   "the data action .../containers/blobs/read, as role Storage Blob Data Contributor does, on the container",
		reading:   "the data action .../containers/blobs/read, as role Storage Blob Data Contributor does, on the container",
		writing:   "the data actions .../containers/blobs/write and .../blobs/add/action, as role Storage Blob Data Contributor does, on the container",
		replacing: "the data action .../containers/blobs/write, as role Storage Blob Data Contributor does, on the container",
		deleting:  "the data action .../containers/blobs/delete, as role Storage Blob Data Contributor does, on the container",
	},
	settings.ProviderGCP: {
		listing:         "storage.objects.list on the bucket",
		reading:         "storage.objects.get on the bucket",
		writing:         "storage.objects.create on the bucket",
		replacing:       "storage.objects.create and storage.objects.delete on the bucket; replacing needs both",
		deleting:        "storage.objects.delete on the bucket",
		uploadsListing:  "storage.multipartUploads.list on the bucket",
		uploadsAborting: "storage.objects.create on the bucket",
	},
}

// guides are the pages that have the least rights of each provider.
var guides = map[string]string{
	settings.ProviderAWS:        "docs/storage-s3.md",
	settings.ProviderAzure:      "docs/storage-azure.md",
	settings.ProviderGCP:        "docs/storage-gcp.md",
	settings.ProviderFilesystem: "docs/storage-filesystem.md",
}

// rightHint names the right that a step lacked.
func (e *exam) rightHint(step string) string {
	if e.provider == settings.ProviderFilesystem {
		return "let user 65532, or the pod's fsGroup, read and write the folder; see " + guides[e.provider]
	}
	right := rights[e.provider][kinds[step]]
	if right == "" {
		return ""
	}
	return "grant " + right + "; see " + guides[e.provider]
}

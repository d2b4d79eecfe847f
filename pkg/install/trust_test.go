package install_test

import (
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/install"
)

func TestTrust(t *testing.T) {
	t.Parallel()
	location := func(provider string, config map[string]string) *install.Location {
		return &install.Location{Provider: provider, Bucket: "backups", Config: config}
	}
	for name, o := range map[string]install.Options{
		"trust-aws.txt": {Namespace: "velero", Location: location("aws", nil)},
		"trust-aws-role.txt": {
			Namespace: "backup", Location: location("velero.io/aws", map[string]string{"s3Url": "https://s3.cn-north-1.amazonaws.com.cn"}),
			ServiceAccountAnnotations: map[string]string{"eks.amazonaws.com/role-arn": "arn:aws-cn:iam::123456789012:role/velero"},
		},
		"trust-gcp.txt": {Namespace: "velero", Location: location("gcp", nil)},
		"trust-gcp-account.txt": {
			Namespace: "backup", Location: location("gcp", nil),
			ServiceAccountAnnotations: map[string]string{"iam.gke.io/gcp-service-account": "velero@shop.iam.gserviceaccount.com"},
		},
		"trust-azure.txt": {Namespace: "velero", Location: location("azure", nil)},
		"trust-azure-identity.txt": {
			Namespace: "backup", Location: location("azure", nil),
			ServiceAccountAnnotations: map[string]string{"azure.workload.identity/client-id": "0f2b"},
			PodLabels:                 map[string]string{"azure.workload.identity/use": "true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, install.Trust(o))
		})
	}
}

func TestTrustOfNobody(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]install.Options{
		"credentials": {Credentials: []byte("x"), Location: &install.Location{Provider: "aws"}},
		"no location": {},
		"a volume":    {Location: &install.Location{Provider: "filesystem"}},
		"own server":  {Location: &install.Location{Provider: "aws", Config: map[string]string{"s3Url": "https://s3.example.com"}}},
		"unknown":     {Location: &install.Location{Provider: "tape"}},
	} {
		if got := install.Trust(o); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

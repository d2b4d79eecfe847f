package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseS3(t *testing.T) {
	t.Parallel()
	defaults := func(change func(*S3)) S3 {
		c := S3{Checksum: "CRC32", PartSize: 16 << 20}
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		config map[string]string
		want   S3
	}{
		{"nothing", nil, defaults(func(*S3) {})},
		{"server with default region", map[string]string{"s3Url": "http://minio:9000/", "s3ForcePathStyle": "true"},
			defaults(func(c *S3) { c.Endpoint, c.Region, c.PathStyle = "http://minio:9000", "us-east-1", true })},
		{"region is kept", map[string]string{"s3Url": "https://s3.local", "region": "eu-west-1", "insecureSkipTLSVerify": "true"},
			defaults(func(c *S3) { c.Endpoint, c.Region, c.Insecure = "https://s3.local", "eu-west-1", true })},
		{"accepted and ignored", map[string]string{"publicUrl": "https://x", "signatureVersion": "1", "enableSharedConfig": "true"},
			defaults(func(*S3) {})},
		{"no checksum", map[string]string{"checksumAlgorithm": ""}, defaults(func(c *S3) { c.Checksum = "" })},
		{"checksum", map[string]string{"checksumAlgorithm": "SHA256"}, defaults(func(c *S3) { c.Checksum = "SHA256" })},
		{"key means KMS", map[string]string{"kmsKeyId": "alias/x"},
			defaults(func(c *S3) { c.KMSKeyID, c.Encryption = "alias/x", "aws:kms" })},
		{"encryption", map[string]string{"serverSideEncryption": "AES256"}, defaults(func(c *S3) { c.Encryption = "AES256" })},
		{"one tag", map[string]string{"tagging": "team=shop"}, defaults(func(c *S3) { c.Tagging = "team=shop" })},
		{"tags", map[string]string{"tagging": "b=2&a=x y"}, defaults(func(c *S3) { c.Tagging = "a=x+y&b=2" })},
		{"profile and file", map[string]string{"profile": "p", "credentialsFile": "/c"},
			defaults(func(c *S3) { c.Profile, c.CredentialsFile = "p", "/c" })},
		{"class of AWS", map[string]string{"storageClass": "STANDARD_IA"}, defaults(func(c *S3) { c.StorageClass = "STANDARD_IA" })},
		{"class of a server", map[string]string{"s3Url": "http://ceph", "storageClass": "COLD"},
			defaults(func(c *S3) { c.Endpoint, c.Region, c.StorageClass = "http://ceph", "us-east-1", "COLD" })},
		{"customer's key in a file", map[string]string{"customerKeyEncryptionFile": "/k"}, defaults(func(c *S3) { c.CustomerKeyFile = "/k" })},
		{"customer's key in a Secret, before serverSideEncryption", map[string]string{"customerKeyEncryptionSecret": "s/k", "serverSideEncryption": "AES256"},
			defaults(func(c *S3) { c.CustomerKeySecret = SecretKey{"s", "k"} })},
		{"no customer's key", map[string]string{"customerKeyEncryptionSecret": "", "customerKeyEncryptionFile": ""}, defaults(func(*S3) {})},
		{"part size", map[string]string{"partSizeMiB": "64"}, defaults(func(c *S3) { c.PartSize = 64 << 20 })},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseS3(test.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseS3Refuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, key, value, want string
	}{
		{"misspelt", "s3URL", "x", `unknown config key "s3URL"; hint: did you mean "s3Url"?`},
		{"another cloud's", "regoin", "x", `unknown config key "regoin"; hint: did you mean "region"?`},
		{"bool", "s3ForcePathStyle", "yes", `config key "s3ForcePathStyle": "yes" is not a boolean; hint: set it to "true" or "false"`},
		{"no URL", "s3Url", "minio:9000", `config key "s3Url": not a URL of the form http://host:port or https://host:port`},
		{"password in the URL", "s3Url", "http://u:geheim@minio", `config key "s3Url": the URL must not hold a user or password; hint: put the keys into the location's credentials secret`},
		{"query in the URL", "s3Url", "http://minio?X-Amz-Signature=geheim", `config key "s3Url": the URL must not hold a query or a fragment`},
		{"part size", "partSizeMiB", "4", `config key "partSizeMiB": "4" is not a number from 5 to 5120`},
		{"tag without key", "tagging", "=x", `config key "tagging": tag "": a key has 1 to 128 characters, is given once, and a value has at most 256 characters`},
		{"customer's key without name", "customerKeyEncryptionSecret", "key", `config key "customerKeyEncryptionSecret": "key" is not of the form secret-name/key`},
		{"archive class", "storageClass", "DEEP_ARCHIVE", `config key "storageClass": objects of class DEEP_ARCHIVE can't be read when a restore needs them; hint: use GLACIER_IR`},
		{"checksum", "checksumAlgorithm", "MD6", `config key "checksumAlgorithm": "MD6" is not one of ["CRC32" "CRC32C" "SHA1" "SHA256" "CRC64NVME"]; hint: set it to "" for a server that knows no checksums`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseS3(map[string]string{test.key: test.value})
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("secret in %q", err)
			}
		})
	}
}

func TestParseS3RefusesTogether(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config map[string]string
		want   string
	}{
		{"two customer's keys", map[string]string{"customerKeyEncryptionFile": "/k", "customerKeyEncryptionSecret": "s/k"},
			`config keys "customerKeyEncryptionFile" and "customerKeyEncryptionSecret" exclude each other; hint: keep the Secret, which every pod can read`},
		{"customer's and KMS key", map[string]string{"customerKeyEncryptionSecret": "s/k", "kmsKeyId": "alias/x"},
			`config keys "kmsKeyId" and "customerKeyEncryption…" exclude each other; hint: leave one of them out`},
		{"customer's key in the clear", map[string]string{"customerKeyEncryptionSecret": "s/k", "s3Url": "http://minio:9000"},
			`config key "s3Url": encryption with a customer's key needs https: the key travels with each request`},
		{"KMS key without KMS", map[string]string{"kmsKeyId": "alias/x", "serverSideEncryption": "AES256"},
			`config keys "kmsKeyId" and "serverSideEncryption": AES256 takes no key; hint: leave one of them out`},
		{"class of AWS misspelt", map[string]string{"storageClass": "standard"},
			`config key "storageClass": "standard" is not one of ["STANDARD" "STANDARD_IA" "ONEZONE_IA" "INTELLIGENT_TIERING" "GLACIER_IR" "EXPRESS_ONEZONE" "OUTPOSTS" "REDUCED_REDUNDANCY"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseS3(test.config)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

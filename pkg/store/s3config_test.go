package store

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func TestParseS3Config(t *testing.T) {
	t.Parallel()
	defaults := func(change func(*s3Config)) s3Config {
		c := s3Config{checksum: types.ChecksumAlgorithmCrc32, partSize: 5 << 20}
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		config map[string]string
		want   s3Config
	}{
		{"nothing", nil, defaults(func(*s3Config) {})},
		{"server with default region", map[string]string{"s3Url": "http://minio:9000/", "s3ForcePathStyle": "true"},
			defaults(func(c *s3Config) { c.endpoint, c.region, c.pathStyle = "http://minio:9000", "us-east-1", true })},
		{"region is kept", map[string]string{"s3Url": "https://s3.local", "region": "eu-west-1", "insecureSkipTLSVerify": "true"},
			defaults(func(c *s3Config) { c.endpoint, c.region, c.insecure = "https://s3.local", "eu-west-1", true })},
		{"accepted and ignored", map[string]string{"publicUrl": "https://x", "signatureVersion": "1", "enableSharedConfig": "true"},
			defaults(func(*s3Config) {})},
		{"no checksum", map[string]string{"checksumAlgorithm": ""}, defaults(func(c *s3Config) { c.checksum = "" })},
		{"checksum", map[string]string{"checksumAlgorithm": "SHA256"}, defaults(func(c *s3Config) { c.checksum = "SHA256" })},
		{"key means KMS", map[string]string{"kmsKeyId": "alias/x"},
			defaults(func(c *s3Config) { c.kmsKeyID, c.encryption = "alias/x", "aws:kms" })},
		{"encryption", map[string]string{"serverSideEncryption": "AES256"}, defaults(func(c *s3Config) { c.encryption = "AES256" })},
		{"one tag", map[string]string{"tagging": "team=shop"}, defaults(func(c *s3Config) { c.tagging = "team=shop" })},
		{"tags", map[string]string{"tagging": "b=2&a=x y"}, defaults(func(c *s3Config) { c.tagging = "a=x+y&b=2" })},
		{"profile and file", map[string]string{"profile": "p", "credentialsFile": "/c"},
			defaults(func(c *s3Config) { c.profile, c.credentialsFile = "p", "/c" })},
		{"part size", map[string]string{"partSizeMiB": "64"}, defaults(func(c *s3Config) { c.partSize = 64 << 20 })},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseS3Config(test.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(s3Config{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseS3ConfigRefuses(t *testing.T) {
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
		{"customer key", "customerKeyEncryptionFile", "/k", `config key "customerKeyEncryptionFile": encryption with a customer's key is not supported by this version; hint: use kmsKeyId or serverSideEncryption`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := parseS3Config(map[string]string{test.key: test.value})
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
	t.Run("checksum", func(t *testing.T) {
		t.Parallel()
		_, err := parseS3Config(map[string]string{"checksumAlgorithm": "MD6"})
		if err == nil || !strings.Contains(err.Error(), `"MD6" is not one of ["CRC32" "CRC32C"`) {
			t.Errorf("error %v", err)
		}
	})
}

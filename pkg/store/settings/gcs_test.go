package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseGCS(t *testing.T) {
	t.Parallel()
	defaults := func(change func(*GCS)) GCS {
		c := GCS{PartSize: 16 << 20}
		change(&c)
		return c
	}
	const key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
	for _, test := range []struct {
		name   string
		config map[string]string
		want   GCS
	}{
		{"nothing", nil, defaults(func(*GCS) {})},
		{"accepted and ignored", map[string]string{"serviceAccount": "velero@p.iam.gserviceaccount.com"}, defaults(func(*GCS) {})},
		{"empty values", map[string]string{"kmsKeyName": "", "storeEndpoint": "", "universeDomain": "", "storageClass": "", "credentialsFile": "", "insecureSkipTLSVerify": ""},
			defaults(func(*GCS) {})},
		{"endpoint without a path", map[string]string{"storeEndpoint": "https://gcs.local"},
			defaults(func(c *GCS) { c.Endpoint = "https://gcs.local/storage/v1/" })},
		{"endpoint with a slash", map[string]string{"storeEndpoint": "http://127.0.0.1:4443/"},
			defaults(func(c *GCS) { c.Endpoint = "http://127.0.0.1:4443/storage/v1/" })},
		{"endpoint with the path", map[string]string{"storeEndpoint": "https://gcs.local/storage/v1"},
			defaults(func(c *GCS) { c.Endpoint = "https://gcs.local/storage/v1/" })},
		{"universe", map[string]string{"universeDomain": "apis-s3ns.fr"}, defaults(func(c *GCS) { c.Universe = "apis-s3ns.fr" })},
		{"key", map[string]string{"kmsKeyName": key}, defaults(func(c *GCS) { c.KMSKeyName = key })},
		{"the rest", map[string]string{"storageClass": "NEARLINE", "credentialsFile": "/c", "insecureSkipTLSVerify": "true", "partSizeMiB": "64"},
			defaults(func(c *GCS) {
				c.StorageClass, c.CredentialsFile, c.Insecure, c.PartSize = "NEARLINE", "/c", true, 64<<20
			})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseGCS(test.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseGCSRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, key, value, want string
	}{
		{"misspelt", "kmsKeyname", "x", `unknown config key "kmsKeyname"; hint: did you mean "kmsKeyName"?`},
		{"another provider's", "s3Url", "x", `unknown config key "s3Url"`},
		{"short key", "kmsKeyName", "k", `config key "kmsKeyName": "k" is not of the form projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY`},
		{"version of a key", "kmsKeyName", "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", `is not of the form projects/PROJECT`},
		{"no URL", "storeEndpoint", "gcs.local", `config key "storeEndpoint": not a URL of the form https://host or https://host/storage/v1/`},
		{"password in the URL", "storeEndpoint", "https://u:geheim@gcs.local", `the URL must not hold a user or password; hint: put the key file into the location's credentials secret`},
		{"query in the URL", "storeEndpoint", "https://gcs.local/?key=geheim", `the URL must not hold a query`},
		{"path in the URL", "storeEndpoint", "https://gcs.local/mirror", `the URL's path is not /storage/v1/; hint: leave the path out`},
		{"universe with a scheme", "universeDomain", "https://apis.fr", `config key "universeDomain": "https://apis.fr" is not a domain such as googleapis.com`},
		{"storage class", "storageClass", "GLACIER", `config key "storageClass": "GLACIER" is not one of ["STANDARD" "NEARLINE" "COLDLINE" "ARCHIVE"]`},
		{"bool", "insecureSkipTLSVerify", "yes", `config key "insecureSkipTLSVerify": "yes" is not a boolean`},
		{"part size", "partSizeMiB", "0", `config key "partSizeMiB": "0" is not a number from 1 to 1024`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseGCS(map[string]string{test.key: test.value})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

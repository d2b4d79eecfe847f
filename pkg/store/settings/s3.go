package settings

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	defaultPartSizeMiB = 16
	// The limits that S3 sets: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	minPartSizeMiB = 5
	maxPartSizeMiB = 5 * 1024
	maxObjectTags  = 10
	maxTagKey      = 128
	maxTagValue    = 256
)

// S3 is the config of a location of provider velero.io/aws.
type S3 struct {
	Region          string
	Endpoint        string // s3Url; empty: AWS itself
	PathStyle       bool
	Insecure        bool // don't verify TLS
	Profile         string
	CredentialsFile string
	Checksum        string // the algorithm's name; empty: none
	Encryption      string // the value of x-amz-server-side-encryption; empty: the bucket's default
	KMSKeyID        string
	Tagging         string // as a query string, escaped
	PartSize        int64  // bytes
	StorageClass    string // empty: the bucket's default

	// CustomerKeyFile is where the customer's key of SSE-C is; empty: none, or
	// CustomerKeySecret names it.
	CustomerKeyFile string
	// CustomerKeySecret is the Secret, in the location's namespace, that holds the
	// customer's key: name and key, or nothing.
	CustomerKeySecret SecretKey
}

// SecretKey is a key of a Secret; the zero value is none.
type SecretKey struct{ Name, Key string }

// CustomerKeySecretKey is the config key that names the Secret with the customer's
// key, as "name/key".
const CustomerKeySecretKey = "customerKeyEncryptionSecret"

// CustomerKey says that a customer's key encrypts the objects.
func (c S3) CustomerKey() bool { return c.CustomerKeyFile != "" || c.CustomerKeySecret != SecretKey{} }

// storageClasses are those of AWS from which an object can be read at once:
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
var storageClasses = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS", "REDUCED_REDUNDANCY"}

// archiveClasses have to be asked for hours before they can be read.
var archiveClasses = []string{"GLACIER", "DEEP_ARCHIVE"}

// checksumAlgorithms are those that the SDK can compute.
var checksumAlgorithms = []string{"CRC32", "CRC32C", "SHA1", "SHA256", "CRC64NVME"}

// s3Keys are the settings of a location of provider velero.io/aws and what
// each does. All but partSizeMiB and storageClass are Velero's.
var s3Keys = map[string]func(c *S3, value string) error{
	"region":                func(c *S3, v string) error { c.Region = v; return nil },
	"s3Url":                 setEndpoint,
	"s3ForcePathStyle":      func(c *S3, v string) error { return setBool(&c.PathStyle, v) },
	"insecureSkipTLSVerify": func(c *S3, v string) error { return setBool(&c.Insecure, v) },
	"profile":               func(c *S3, v string) error { c.Profile = v; return nil },
	"credentialsFile":       func(c *S3, v string) error { c.CredentialsFile = v; return nil },
	"checksumAlgorithm":     setChecksum,
	"kmsKeyId":              func(c *S3, v string) error { c.KMSKeyID = v; return nil },
	"serverSideEncryption":  func(c *S3, v string) error { c.Encryption = v; return nil },
	"tagging":               setTagging,
	"partSizeMiB":           setPartSize,

	// publicUrl is the endpoint for pre-signed URLs, which we never make: what
	// a user wants from a bucket comes through a reader Job.
	"publicUrl": ignore,
	// Velero's driver accepts both and ignores them; so locations have them.
	"signatureVersion":   ignore,
	"enableSharedConfig": ignore,

	"customerKeyEncryptionFile": func(c *S3, v string) error { c.CustomerKeyFile = v; return nil },
	CustomerKeySecretKey:        setCustomerKeySecret,
	"storageClass":              func(c *S3, v string) error { c.StorageClass = v; return nil },
}

func ignore(*S3, string) error { return nil }

// ParseS3 reads the config.
func ParseS3(config map[string]string) (S3, error) {
	c := S3{Checksum: "CRC32", PartSize: defaultPartSizeMiB << 20}
	if err := parse(&c, s3Keys, config); err != nil {
		return c, err
	}
	for _, check := range []func(*S3) error{checkEncryption, checkStorageClass} {
		if err := check(&c); err != nil {
			return c, err
		}
	}
	if c.Region == "" && c.Endpoint != "" {
		// Servers that aren't AWS mostly don't care, but a request can't be
		// signed without a region.
		c.Region = "us-east-1"
	}
	return c, nil
}

// checkEncryption settles which of the ways to encrypt is meant.
func checkEncryption(c *S3) error {
	switch {
	case c.CustomerKeyFile != "" && c.CustomerKeySecret != SecretKey{}:
		return fmt.Errorf("config keys \"customerKeyEncryptionFile\" and \"customerKeyEncryptionSecret\" exclude each other; hint: keep the Secret, which every pod can read")
	case c.CustomerKey() && c.KMSKeyID != "":
		return fmt.Errorf("config keys \"kmsKeyId\" and \"customerKeyEncryption…\" exclude each other; hint: leave one of them out")
	case c.CustomerKey() && strings.HasPrefix(c.Endpoint, "http://"):
		return fmt.Errorf("config key \"s3Url\": encryption with a customer's key needs https: the key travels with each request")
	case c.CustomerKey():
		// As in Velero, serverSideEncryption counts only without any key.
		c.Encryption = ""
	case c.KMSKeyID != "" && c.Encryption == "":
		c.Encryption = "aws:kms"
	case c.KMSKeyID != "" && c.Encryption == "AES256":
		return fmt.Errorf("config keys \"kmsKeyId\" and \"serverSideEncryption\": AES256 takes no key; hint: leave one of them out")
	}
	return nil
}

func checkStorageClass(c *S3) error {
	switch {
	case c.StorageClass == "":
		return nil
	case slices.Contains(archiveClasses, c.StorageClass):
		return fmt.Errorf("config key \"storageClass\": objects of class %s can't be read when a restore needs them; hint: use GLACIER_IR", c.StorageClass)
	case slices.Contains(storageClasses, c.StorageClass):
		return nil
	case c.Endpoint != "":
		// Other servers have classes of their own: Ceph any name, MinIO two.
		return nil
	}
	return fmt.Errorf("config key \"storageClass\": %q is not one of %q", c.StorageClass, storageClasses)
}

// setCustomerKeySecret reads "name/key".
func setCustomerKeySecret(c *S3, value string) error {
	if value == "" {
		return nil
	}
	name, key, ok := strings.Cut(value, "/")
	if !ok || name == "" || key == "" || strings.Contains(key, "/") {
		return fmt.Errorf("%q is not of the form secret-name/key", value)
	}
	c.CustomerKeySecret = SecretKey{Name: name, Key: key}
	return nil
}

// setEndpoint never quotes the value: it may hold a password.
func setEndpoint(c *S3, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Errorf("not a URL of the form http://host:port or https://host:port")
	case u.User != nil:
		return fmt.Errorf("the URL must not hold a user or password; hint: put the keys into the location's credentials secret")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the URL must not hold a query or a fragment")
	}
	c.Endpoint = strings.TrimSuffix(value, "/")
	return nil
}

func setChecksum(c *S3, value string) error {
	if value != "" && !slices.Contains(checksumAlgorithms, value) {
		return fmt.Errorf("%q is not one of %q; hint: set it to \"\" for a server that knows no checksums", value, checksumAlgorithms)
	}
	c.Checksum = value
	return nil
}

func setTagging(c *S3, value string) error {
	tags, err := url.ParseQuery(value)
	if err != nil {
		return fmt.Errorf("%q is not of the form key1=value1&key2=value2", value)
	}
	if len(tags) > maxObjectTags {
		return fmt.Errorf("%d tags: at most %d are allowed", len(tags), maxObjectTags)
	}
	for k, values := range tags {
		if k == "" || len(k) > maxTagKey || len(values) != 1 || len(values[0]) > maxTagValue {
			return fmt.Errorf("tag %q: a key has 1 to %d characters, is given once, and a value has at most %d characters", k, maxTagKey, maxTagValue)
		}
	}
	c.Tagging = tags.Encode()
	return nil
}

func setPartSize(c *S3, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < minPartSizeMiB || n > maxPartSizeMiB {
		return fmt.Errorf("%q is not a number from %d to %d", value, minPartSizeMiB, maxPartSizeMiB)
	}
	c.PartSize = int64(n) << 20
	return nil
}

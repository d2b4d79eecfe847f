package store

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/spelling"
)

const (
	defaultPartSizeMiB = 5
	// The limits that S3 sets: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
	minPartSizeMiB = 5
	maxPartSizeMiB = 5 * 1024
	maxUploadParts = 10000
	maxObjectTags  = 10
	maxTagKey      = 128
	maxTagValue    = 256
)

// s3Config is a location's config, parsed.
type s3Config struct {
	region          string
	endpoint        string // s3Url; empty: AWS itself
	pathStyle       bool
	insecure        bool // don't verify TLS
	profile         string
	credentialsFile string
	checksum        types.ChecksumAlgorithm // empty: none
	encryption      types.ServerSideEncryption
	kmsKeyID        string
	tagging         string
	partSize        int64 // bytes
}

// s3Keys are the settings of a location of provider velero.io/aws and what
// each does. All but partSizeMiB are Velero's.
var s3Keys = map[string]func(c *s3Config, value string) error{
	"region":                func(c *s3Config, v string) error { c.region = v; return nil },
	"s3Url":                 setEndpoint,
	"s3ForcePathStyle":      func(c *s3Config, v string) error { return setBool(&c.pathStyle, v) },
	"insecureSkipTLSVerify": func(c *s3Config, v string) error { return setBool(&c.insecure, v) },
	"profile":               func(c *s3Config, v string) error { c.profile = v; return nil },
	"credentialsFile":       func(c *s3Config, v string) error { c.credentialsFile = v; return nil },
	"checksumAlgorithm":     setChecksum,
	"kmsKeyId":              func(c *s3Config, v string) error { c.kmsKeyID = v; return nil },
	"serverSideEncryption":  func(c *s3Config, v string) error { c.encryption = types.ServerSideEncryption(v); return nil },
	"tagging":               setTagging,
	"partSizeMiB":           setPartSize,

	// publicUrl is the endpoint for pre-signed URLs, which we never make: what
	// a user wants from a bucket comes through a reader Job.
	"publicUrl": ignore,
	// Velero's driver accepts both and ignores them; so locations have them.
	"signatureVersion":   ignore,
	"enableSharedConfig": ignore,

	// Ignoring these would store in the clear what was asked to be encrypted.
	"customerKeyEncryptionFile":   unsupported,
	"customerKeyEncryptionSecret": unsupported,
}

func ignore(*s3Config, string) error { return nil }

func unsupported(*s3Config, string) error {
	return fmt.Errorf("encryption with a customer's key is not supported by this version; hint: use kmsKeyId or serverSideEncryption")
}

// parseS3Config reads the settings; an unknown one is an error, since it is
// most likely a known one misspelt.
func parseS3Config(config map[string]string) (s3Config, error) {
	c := s3Config{checksum: types.ChecksumAlgorithmCrc32, partSize: defaultPartSizeMiB << 20}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		set, ok := s3Keys[key]
		if !ok {
			return c, fmt.Errorf("unknown config key %q; hint: did you mean %q?", key, nearest(key, slices.Sorted(maps.Keys(s3Keys))))
		}
		if err := set(&c, config[key]); err != nil {
			return c, fmt.Errorf("config key %q: %w", key, err)
		}
	}
	switch {
	case c.kmsKeyID != "" && c.encryption == "":
		c.encryption = types.ServerSideEncryptionAwsKms
	case c.kmsKeyID != "" && c.encryption == types.ServerSideEncryptionAes256:
		return c, fmt.Errorf("config keys \"kmsKeyId\" and \"serverSideEncryption\": AES256 takes no key; hint: leave one of them out")
	}
	if c.region == "" && c.endpoint != "" {
		// Servers that aren't AWS mostly don't care, but a request can't be
		// signed without a region.
		c.region = "us-east-1"
	}
	return c, nil
}

func setBool(to *bool, value string) error {
	if value == "" {
		return nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return fmt.Errorf("%q is not a boolean; hint: set it to \"true\" or \"false\"", value)
	}
	*to = b
	return nil
}

// setEndpoint never quotes the value: it may hold a password.
func setEndpoint(c *s3Config, value string) error {
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
	c.endpoint = strings.TrimSuffix(value, "/")
	return nil
}

func setChecksum(c *s3Config, value string) error {
	known := types.ChecksumAlgorithm("").Values()
	if value != "" && !slices.Contains(known, types.ChecksumAlgorithm(value)) {
		return fmt.Errorf("%q is not one of %q; hint: set it to \"\" for a server that knows no checksums", value, known)
	}
	c.checksum = types.ChecksumAlgorithm(value)
	return nil
}

func setTagging(c *s3Config, value string) error {
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
	c.tagging = tags.Encode()
	return nil
}

func setPartSize(c *s3Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < minPartSizeMiB || n > maxPartSizeMiB {
		return fmt.Errorf("%q is not a number from %d to %d", value, minPartSizeMiB, maxPartSizeMiB)
	}
	c.partSize = int64(n) << 20
	return nil
}

// nearest picks the candidate that takes the fewest edits to become name,
// without regard to case.
func nearest(name string, candidates []string) string {
	best, fewest := "", -1
	for _, c := range candidates {
		if d := spelling.Distance(strings.ToLower(name), strings.ToLower(c)); fewest < 0 || d < fewest {
			best, fewest = c, d
		}
	}
	return best
}

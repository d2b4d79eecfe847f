package settings

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// A part is what is sent again when a connection breaks, and two of them are in
	// memory. GCS itself only wants a multiple of 256 KiB.
	minGCSPartSizeMiB = 1
	maxGCSPartSizeMiB = 1024
	// gcsAPIPath is where every endpoint of GCS has its API: the path that clients
	// for uploads and for the rest have in common is no part of what can be set.
	gcsAPIPath = "/storage/v1/"
)

// GCS is the config of a location of provider velero.io/gcp.
type GCS struct {
	// Endpoint is the base URL of the API, with a slash at its end; empty: that of
	// the universe.
	Endpoint        string
	Universe        string // universeDomain; empty: googleapis.com, or what the environment says
	KMSKeyName      string
	StorageClass    string // empty: the bucket's default
	CredentialsFile string
	Insecure        bool  // don't verify TLS
	PartSize        int64 // bytes
}

// gcsStorageClasses are those that an object can have:
// https://cloud.google.com/storage/docs/storage-classes
var gcsStorageClasses = []string{"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}

// kmsKeyName is what the full name of a key looks like; a version can't be chosen.
var kmsKeyName = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)

// universeDomain is the name of a domain.
var universeDomain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// gcsKeys are the settings of a location of provider velero.io/gcp and what each
// does. partSizeMiB, storageClass and insecureSkipTLSVerify are ours.
var gcsKeys = map[string]func(*GCS, string) error{
	"kmsKeyName":            setKMSKeyName,
	"storeEndpoint":         setStoreEndpoint,
	"universeDomain":        setUniverseDomain,
	"storageClass":          setGCSStorageClass,
	"credentialsFile":       func(c *GCS, v string) error { c.CredentialsFile = v; return nil },
	"insecureSkipTLSVerify": func(c *GCS, v string) error { return setBool(&c.Insecure, v) },
	"partSizeMiB":           setGCSPartSize,

	// serviceAccount signs URLs, which we never make: what a user wants from a
	// bucket comes through a reader Job.
	"serviceAccount": func(*GCS, string) error { return nil },
}

// ParseGCS reads the config.
func ParseGCS(config map[string]string) (GCS, error) {
	c := GCS{PartSize: defaultPartSizeMiB << 20}
	err := parse(&c, gcsKeys, config)
	return c, err
}

func setKMSKeyName(c *GCS, value string) error {
	if value != "" && !kmsKeyName.MatchString(value) {
		return fmt.Errorf("%q is not of the form projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY", value)
	}
	c.KMSKeyName = value
	return nil
}

// setStoreEndpoint never quotes the value: it may hold a password.
func setStoreEndpoint(c *GCS, value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Errorf("not a URL of the form https://host or https://host%s", gcsAPIPath)
	case u.User != nil:
		return fmt.Errorf("the URL must not hold a user or password; hint: put the key file into the location's credentials secret")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the URL must not hold a query or a fragment")
	case u.Path != "" && u.Path != "/" && strings.TrimSuffix(u.Path, "/") != strings.TrimSuffix(gcsAPIPath, "/"):
		return fmt.Errorf("the URL's path is not %s; hint: leave the path out", gcsAPIPath)
	}
	c.Endpoint = u.Scheme + "://" + u.Host + gcsAPIPath
	return nil
}

func setUniverseDomain(c *GCS, value string) error {
	if value != "" && !universeDomain.MatchString(value) {
		return fmt.Errorf("%q is not a domain such as googleapis.com", value)
	}
	c.Universe = value
	return nil
}

func setGCSStorageClass(c *GCS, value string) error {
	if value != "" && !slices.Contains(gcsStorageClasses, value) {
		return fmt.Errorf("%q is not one of %q", value, gcsStorageClasses)
	}
	c.StorageClass = value
	return nil
}

func setGCSPartSize(c *GCS, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < minGCSPartSizeMiB || n > maxGCSPartSizeMiB {
		return fmt.Errorf("%q is not a number from %d to %d", value, minGCSPartSizeMiB, maxGCSPartSizeMiB)
	}
	c.PartSize = int64(n) << 20
	return nil
}

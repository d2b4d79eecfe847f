package store

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// customerKeySize is that of AES-256, in bytes.
const customerKeySize = 32

// customerKey is the key of SSE-C as requests carry it: the store encrypts with it
// and forgets it. The zero value is none.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html
type customerKey struct {
	algorithm, key, md5 *string
}

// loadCustomerKey reads the key that the location's config names, if it names one.
func loadCustomerKey(l Location, c settings.S3) (customerKey, error) {
	file := c.CustomerKeyFile
	if c.CustomerKeySecret != (settings.SecretKey{}) {
		file = l.CustomerKeyFile
		if file == "" {
			return customerKey{}, fmt.Errorf("config key %q: key %q of Secret %q is not mounted here", settings.CustomerKeySecretKey, c.CustomerKeySecret.Key, c.CustomerKeySecret.Name)
		}
	}
	if file == "" {
		return customerKey{}, nil
	}
	key, err := os.ReadFile(file)
	if err != nil {
		return customerKey{}, fmt.Errorf("read the customer's encryption key: %w", err)
	}
	if len(key) != customerKeySize {
		return customerKey{}, fmt.Errorf("the customer's encryption key in %q has %d bytes instead of %d; hint: make one with: head -c %d /dev/urandom", file, len(key), customerKeySize, customerKeySize)
	}
	sum := md5.Sum(key) // what the protocol asks for
	return customerKey{
		algorithm: aws.String("AES256"),
		key:       aws.String(base64.StdEncoding.EncodeToString(key)),
		md5:       aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}, nil
}

// errNotEncrypted is a server that knows nothing of SSE-C, and would store in the
// clear what was asked to be encrypted.
var errNotEncrypted = errors.New("the server ignores the customer's encryption key")

// used says that a server has taken the key: its answer names the algorithm.
func (k customerKey) used(algorithm *string) error {
	if k.key != nil && aws.ToString(algorithm) != *k.algorithm {
		return errNotEncrypted
	}
	return nil
}

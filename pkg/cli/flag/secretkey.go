package flag

import (
	"fmt"
	"strings"
)

// SecretKey is a key of a Secret, written SECRET=KEY. The zero value names none,
// and so does the empty string.
type SecretKey struct {
	// Secret and Key are both empty or both not.
	Secret, Key string
}

// Set accepts one pair; several are refused as the mistake that they are.
func (k *SecretKey) Set(s string) error {
	if s == "" {
		*k = SecretKey{}
		return nil
	}
	secret, key, _ := strings.Cut(s, "=")
	secret, key = strings.TrimSpace(secret), strings.TrimSpace(key)
	if secret == "" || key == "" || strings.ContainsAny(key, "=,") {
		return fmt.Errorf("%q is not of the form SECRET=KEY; hint: name one Secret and the key in it, such as cloud-credentials=cloud", s)
	}
	*k = SecretKey{Secret: secret, Key: key}
	return nil
}

// String gives SECRET=KEY.
func (k *SecretKey) String() string {
	if k.Secret == "" {
		return ""
	}
	return k.Secret + "=" + k.Key
}

// Type is the name that help shows. It is Velero's.
func (k *SecretKey) Type() string { return "mapStringString" }

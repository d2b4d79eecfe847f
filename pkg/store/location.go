package store

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// Location says where a bucket is and how to reach it. It holds no secret, so
// it may be written as JSON into a Job.
type Location struct {
	// Provider is "aws", "azure", "gcp" or "filesystem": a name without a slash
	// means "velero.io/" plus it.
	Provider string `json:"provider"`
	Bucket   string `json:"bucket"`
	// Prefix is the folder in the bucket that keys are relative to; empty is
	// the bucket's root.
	Prefix string `json:"prefix,omitempty"`
	// Config has the provider's settings under Velero's names.
	Config map[string]string `json:"config,omitempty"`
	// CACert is PEM; its certificates are trusted beside the system's.
	CACert []byte `json:"caCert,omitempty"`
	// CredentialsFile is the path of the provider's credentials. If it is
	// empty or there is no such file, config's credentialsFile and then the
	// provider's own search (environment, identity of the pod) are used.
	CredentialsFile string `json:"credentialsFile,omitempty"`
	// CustomerKeyFile is the path of the key (32 bytes) that the config key
	// customerKeyEncryptionSecret stands for, where the Job has it.
	CustomerKeyFile string `json:"customerKeyFile,omitempty"`
	// Root is, for the provider filesystem, the folder in which buckets are
	// folders: where the Job has the claim mounted.
	Root string `json:"root,omitempty"`
}

// FromSpec is the Location of a BackupStorageLocation. caCert is what its
// caCertRef names, and takes precedence over the inline certificate;
// credentialsFile is where its credential is mounted. Either may be empty.
func FromSpec(bsl *velerov1.BackupStorageLocation, caCert []byte, credentialsFile string) Location {
	l := Location{
		Provider:        bsl.Spec.Provider,
		Config:          maps.Clone(bsl.Spec.Config),
		CACert:          caCert,
		CredentialsFile: credentialsFile,
	}
	if o := bsl.Spec.ObjectStorage; o != nil {
		l.Bucket, l.Prefix = o.Bucket, o.Prefix
		if len(l.CACert) == 0 {
			l.CACert = o.CACert
		}
	}
	return l
}

// normalized applies the rules of Velero to provider, bucket and prefix: a
// short provider gets its domain, slashes at both ends go.
func (l Location) normalized() (Location, error) {
	var err error
	if l.Provider, err = settings.Provider(l.Provider); err != nil {
		return l, err
	}
	l.Bucket = strings.Trim(l.Bucket, "/")
	l.Prefix = strings.Trim(l.Prefix, "/")
	switch {
	case l.Bucket == "":
		return l, errors.New("it names no bucket; hint: set spec.objectStorage.bucket")
	case strings.Contains(l.Bucket, "/"):
		bucket, prefix, _ := strings.Cut(l.Bucket, "/")
		return l, fmt.Errorf("the bucket's name %q must not contain a slash; hint: set bucket to %q and prefix to %q", l.Bucket, bucket, prefix)
	}
	if l.Prefix != "" {
		if err := checkKey(l.Prefix); err != nil {
			return l, fmt.Errorf("invalid prefix %q", l.Prefix)
		}
		l.Prefix += "/"
	}
	return l, nil
}

// Package reader has Jobs tell the plugin what it can't find out itself: it starts
// the Job, reaches the server in its pod by port-forward, and ends it. So objects
// of a bucket that only the cluster can reach are read without a cloud SDK and
// with the cluster's credentials, and a restore can be tried with its own rights.
package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// ErrNotExist means that the bucket has no object of that key.
var ErrNotExist = errors.New("no such object in the bucket")

// Config says what to read and how to get there.
type Config struct {
	Cluster
	// Location is the bucket; CACert is the content of its caCertRef, may be nil.
	Location *velerov1.BackupStorageLocation
	CACert   []byte
	// Name is the backup or restore, for the Job's name.
	Name string
	// Prefixes are the key prefixes that may be read, such as "backups/shop/".
	Prefixes []string
}

// Reader is an open connection to a Job that reads a bucket. It is not safe for
// concurrent use.
type Reader struct {
	*server
	cfg Config
}

// Open starts the Job and connects to it. The context bounds the start, and
// must live as long as the Reader. Close must be called.
func Open(ctx context.Context, cfg Config) (*Reader, error) {
	s, err := newServer(cfg.Cluster, velerov1.OperationRead, "read from the bucket")
	if err != nil {
		return nil, err
	}
	r := &Reader{server: s, cfg: cfg}
	job, err := r.build()
	if err != nil {
		return nil, err
	}
	if r.job, err = launch.Start(ctx, cfg.Kube, job); err != nil {
		return nil, err
	}
	if err := r.connect(ctx); err != nil {
		return nil, errors.Join(err, r.Close(ctx))
	}
	return r, nil
}

// location is the form in which the executor takes a location. It is spelled
// out here because the package that defines it links cloud SDKs.
type location struct {
	Provider        string            `json:"provider"`
	Bucket          string            `json:"bucket"`
	Prefix          string            `json:"prefix,omitempty"`
	Config          map[string]string `json:"config,omitempty"`
	CACert          []byte            `json:"caCert,omitempty"`
	CredentialsFile string            `json:"credentialsFile,omitempty"`
	CustomerKeyFile string            `json:"customerKeyFile,omitempty"`
	Root            string            `json:"root,omitempty"`
}

func (r *Reader) build() (*batchv1.Job, error) {
	spec := r.cfg.Location.Spec
	if spec.ObjectStorage == nil {
		return nil, fmt.Errorf("storage location %q names no bucket", r.cfg.Location.Name)
	}
	l := location{
		Provider: spec.Provider, Bucket: spec.ObjectStorage.Bucket, Prefix: spec.ObjectStorage.Prefix,
		Config: spec.Config, CACert: r.cfg.CACert,
		CredentialsFile: launch.CredentialsDir + "/" + launch.CredentialsKey,
	}
	if len(l.CACert) == 0 {
		l.CACert = spec.ObjectStorage.CACert
	}
	if err := mustFit(l.CACert); err != nil {
		return nil, fmt.Errorf("storage location %q: %w", r.cfg.Location.Name, err)
	}
	mounts := launch.MountsOf(r.cfg.Location)
	if mounts.EncryptionKey != nil {
		l.CustomerKeyFile = launch.EncryptionKeyDir + "/" + launch.EncryptionKeyFile
	}
	if mounts.Claim != "" {
		l.Root = launch.StorageDir
	}
	body, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode storage location %q: %w", r.cfg.Location.Name, err)
	}
	return launch.Job(r.cfg.Template, launch.Operation{
		Kind: velerov1.OperationRead, Namespace: r.cfg.Namespace, Name: r.cfg.Name, UID: uuid.NewUUID(),
		NoAPIToken: true,
		Args:       []string{"read"},
		Env: []corev1.EnvVar{
			{Name: "VELERO_LOCATION", Value: string(body)},
			{Name: "READ_PREFIXES", Value: strings.Join(r.cfg.Prefixes, ",")},
			r.tokenHash(),
		},
		Location: r.cfg.Location,
		Deadline: jobDeadline,
	}), nil
}

// mostCertificates is how many bytes of certificates fit into a container's environment:
// Linux takes 128 KiB for one variable, where they are in base64 and not alone.
const mostCertificates = 88 << 10

// mustFit refuses certificates with which a container would not start.
func mustFit(certificates []byte) error {
	if len(certificates) <= mostCertificates {
		return nil
	}
	return fmt.Errorf("its certificates have %d KiB, and at most %d fit; hint: only those of the CA that signed the storage's own are needed",
		(len(certificates)+1023)>>10, mostCertificates>>10)
}

// Close ends the server and deletes its Job, also after ctx ended.
func (r *Reader) Close(ctx context.Context) error { return r.stop(ctx) }

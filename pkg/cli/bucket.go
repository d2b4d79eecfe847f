package cli

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
)

// openBucket connects to the bucket of a storage location for reading what lies
// below prefix. It takes some seconds: a Job is started for it. The Reader must
// be closed.
func (s *session) openBucket(ctx context.Context, location, name, prefix string) (*reader.Reader, error) {
	bsl, err := s.takenTo(ctx, location)
	if err != nil {
		return nil, err
	}
	template, err := s.template(ctx)
	if err != nil {
		return nil, err
	}
	if bsl, err = s.trust.Of(bsl); err != nil {
		return nil, err
	}
	cfg := reader.Config{Cluster: s.cluster(template), Location: bsl, Name: name, Prefixes: []string{prefix}}
	if o := bsl.Spec.ObjectStorage; o != nil && o.CACertRef != nil {
		if cfg.CACert, err = s.secretKey(ctx, o.CACertRef); err != nil {
			return nil, err
		}
	}
	r, err := reader.Open(ctx, cfg)
	if err != nil {
		return nil, s.explain("open the bucket", err)
	}
	return r, nil
}

// cluster is where Jobs that tell the plugin something are started.
func (s *session) cluster(template *corev1.PodTemplate) reader.Cluster {
	return reader.Cluster{REST: s.config, Kube: s.kube, Observer: s.observer, Template: template, Namespace: s.namespace}
}

func (s *session) secretKey(ctx context.Context, ref *corev1.SecretKeySelector) ([]byte, error) {
	secret, err := s.kube.CoreV1().Secrets(s.namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, s.explain(fmt.Sprintf("read Secret %q for the bucket's certificate", ref.Name), err)
	}
	return secret.Data[ref.Key], nil
}

// getter reads whole objects; reader.ErrNotExist for one that isn't there.
type getter interface {
	Get(ctx context.Context, key string) (io.ReadCloser, error)
}

// copyGzip writes the plain content of a gzipped object.
func copyGzip(ctx context.Context, r getter, key string, w io.Writer) (err error) {
	body, err := r.Get(ctx, key)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return fmt.Errorf("unpack %q: %w", key, err)
	}
	if _, err := io.Copy(w, plain); err != nil {
		return fmt.Errorf("unpack %q: %w", key, err)
	}
	return nil
}

// maxDetails bounds what is read into memory of an object that others wrote.
const maxDetails = 256 << 20

// readGzipJSON decodes a gzipped JSON object.
func readGzipJSON[T any](ctx context.Context, r getter, key string) (value *T, err error) {
	body, err := r.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	plain, err := gzip.NewReader(body)
	if err != nil {
		return nil, fmt.Errorf("unpack %q: %w", key, err)
	}
	value = new(T)
	if err := json.NewDecoder(io.LimitReader(plain, maxDetails)).Decode(value); err != nil {
		return nil, fmt.Errorf("decode %q: %w", key, err)
	}
	return value, nil
}

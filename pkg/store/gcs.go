package store

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const (
	// gcsEmulatorVariable makes Google's SDKs talk to an emulator, to which they
	// show no credentials.
	gcsEmulatorVariable = "STORAGE_EMULATOR_HOST"
	// gcsUniverseVariable names the cloud for Google's SDKs.
	gcsUniverseVariable = "GOOGLE_CLOUD_UNIVERSE_DOMAIN"
	defaultUniverse     = "googleapis.com"

	gcsInitialBackoff = 200 * time.Millisecond
	gcsPageSize       = 1000
)

// gcsBucket is a Bucket on Google Cloud Storage, over its JSON API.
type gcsBucket struct {
	handle *storage.BucketHandle
	client *http.Client // with credentials
	bucket string
	prefix string // empty, or with a slash at its end
	config settings.GCS
	tokens *gcsTokens // nil: an emulator asks for none
	// found says that the bucket is known to exist: the answer to a missing object
	// may look the same as that to a missing bucket.
	found atomic.Bool
}

var (
	_ Bucket    = (*gcsBucket)(nil)
	_ Inspector = (*gcsBucket)(nil)
)

func openGCS(ctx context.Context, l Location) (*gcsBucket, error) {
	c, err := settings.ParseGCS(l.Config)
	if err != nil {
		return nil, err
	}
	b := &gcsBucket{bucket: l.Bucket, prefix: l.Prefix, config: c}
	if b.tokens, err = openGCSTokens(l, c); err != nil {
		return nil, err
	}
	transport, err := newTransport(l, c.Insecure)
	if err != nil {
		return nil, err
	}
	// The length of an object, and a range of it, are those of what is stored.
	transport.DisableCompression = true
	b.client = &http.Client{
		Transport: &gcsTransport{base: transport, tokens: b.tokens},
		// GCS redirects nobody, and whoever else does is not to get a token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := storage.NewClient(ctx,
		option.WithHTTPClient(b.client),
		// The client above does it; the SDK would look for an identity right away.
		option.WithoutAuthentication(),
		option.WithEndpoint(b.endpoint()),
		// One API, with one kind of error; the XML API would also need a host name
		// that it knows.
		storage.WithJSONReads(),
		storage.WithDisabledClientMetrics(),
	)
	if err != nil {
		return nil, fmt.Errorf("set up the client of Google Cloud Storage: %s", scrub(err.Error()))
	}
	// Every call of ours may be repeated: conditions guard those that create, and
	// deleting what is gone is fine.
	b.handle = client.Bucket(l.Bucket).Retryer(
		storage.WithPolicy(storage.RetryAlways),
		storage.WithBackoff(gax.Backoff{Initial: gcsInitialBackoff, Max: maxBackoff, Multiplier: 2}),
		storage.WithMaxAttempts(maxAttempts),
		storage.WithErrorFunc(gcsRetryable),
	)
	return b, nil
}

// universe is the cloud that the location is in.
func (b *gcsBucket) universe() string { return gcsUniverse(b.config) }

func gcsUniverse(c settings.GCS) string {
	if c.Universe != "" {
		return c.Universe
	}
	if fromEnvironment := os.Getenv(gcsUniverseVariable); fromEnvironment != "" {
		return fromEnvironment
	}
	return defaultUniverse
}

// endpoint is the base URL of the JSON API.
func (b *gcsBucket) endpoint() string {
	if b.config.Endpoint != "" {
		return b.config.Endpoint
	}
	if host := os.Getenv(gcsEmulatorVariable); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		return strings.TrimSuffix(host, "/") + "/storage/v1/"
	}
	return "https://storage." + b.universe() + "/storage/v1/"
}

// where names the server.
func (b *gcsBucket) where() string {
	endpoint := strings.TrimSuffix(b.endpoint(), "/storage/v1/")
	if endpoint == "https://storage."+defaultUniverse {
		return "Google Cloud Storage"
	}
	return endpoint
}

// object is the handle of one object.
func (b *gcsBucket) object(key string) *storage.ObjectHandle {
	return b.handle.Object(b.prefix + key)
}

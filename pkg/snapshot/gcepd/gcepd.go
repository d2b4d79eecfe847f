// Package gcepd takes snapshots of the persistent disks and hyperdisks of Google
// Compute Engine, zonal and regional ones. What it writes is what Velero's plugin for
// GCP writes, so that each can use the snapshots of the other.
package gcepd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/api/compute/v1"
	"google.golang.org/api/option"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// The keys of a location's config.
const (
	keyProject          = "project"
	keyVolumeProject    = "volumeProject"
	keySnapshotLocation = "snapshotLocation"
	keySnapshotType     = "snapshotType"
	keyCredentialsFile  = "credentialsFile"
)

const (
	// apiPath is where every endpoint has its API.
	apiPath = "/compute/v1/"
	// maxInFlight is how many requests there may be at a time: Compute Engine
	// limits them by the minute.
	maxInFlight = 10
)

// Snapshotter works on the disks of one project. It implements snapshot.Snapshotter.
type Snapshotter struct {
	config snapshot.Config
	google *store.Google
	api    *compute.Service
	// slots has a place for each request in flight.
	slots chan struct{}
	// pause waits, at most until the end of the context.
	pause func(context.Context, time.Duration)

	mu sync.Mutex
	// project is that of the credentials; guarded by mu, empty until it is known.
	project string
	// made says where the disks are that CreateVolume has made; guarded by mu.
	made map[string]place
}

var _ snapshot.Snapshotter = (*Snapshotter)(nil)

// Open returns the snapshotter of a location. It sends nothing.
func Open(ctx context.Context, c snapshot.Config) (*Snapshotter, error) {
	google, err := store.OpenGoogle(store.GoogleIdentity{
		CredentialsFile: c.CredentialsFile,
		ConfiguredFile:  c.Settings[keyCredentialsFile],
		Scope:           compute.ComputeScope,
	})
	if err != nil {
		return nil, c.Errorf("%w", err)
	}
	api, err := compute.NewService(ctx,
		option.WithHTTPClient(google.Client()),
		option.WithEndpoint(endpoint(c.Endpoint, google.Universe())),
		option.WithUniverseDomain(google.Universe()),
	)
	if err != nil {
		return nil, c.Errorf("set up the client of Compute Engine: %s", google.Scrub(err.Error()))
	}
	return &Snapshotter{config: c, google: google, api: api, slots: make(chan struct{}, maxInFlight), pause: pause, made: map[string]place{}}, nil
}

// endpoint is the base URL of the API.
func endpoint(configured, universe string) string {
	if configured == "" {
		return "https://compute." + universe + apiPath
	}
	return strings.TrimSuffix(strings.TrimSuffix(configured, "/"), strings.TrimSuffix(apiPath, "/")) + apiPath
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// errNoProject is the error about credentials that tell no project.
var errNoProject = errors.New(`which project the disks are in is not known; hint: set the config keys "volumeProject" and, for the snapshots, "project" of the location`)

// volumeProject is the project with the disks.
func (s *Snapshotter) volumeProject(ctx context.Context) (string, error) {
	if configured := s.config.Settings[keyVolumeProject]; configured != "" {
		return configured, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.project != "" {
		return s.project, nil
	}
	project, err := s.google.Project(ctx)
	if err != nil {
		return "", s.failed(ctx, "find out the project of the credentials", err)
	}
	if project == "" {
		return "", s.config.Errorf("%w", errNoProject)
	}
	s.project = project
	return project, nil
}

// snapshotProject is the project with the snapshots.
func (s *Snapshotter) snapshotProject(ctx context.Context) (string, error) {
	if configured := s.config.Settings[keyProject]; configured != "" {
		return configured, nil
	}
	return s.volumeProject(ctx)
}

// knownVolumeProject is the project with the disks as far as it was needed before;
// else empty.
func (s *Snapshotter) knownVolumeProject() string {
	if configured := s.config.Settings[keyVolumeProject]; configured != "" {
		return configured
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.project
}

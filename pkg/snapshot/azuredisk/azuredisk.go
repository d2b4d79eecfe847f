// Package azuredisk takes snapshots of Azure's managed disks, through Azure's
// resource manager. The disks are those of the resource group that the credentials
// name; the snapshots are in the location's, which may be of another subscription.
package azuredisk

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// requestRetries is how often a request is repeated that Azure throttles, or
	// that gets no answer.
	requestRetries = 8
	// longestRetry is the longest pause that Azure may ask for: its limits count
	// over three and over thirty minutes.
	longestRetry = 10 * time.Minute
	// inFlight is how many requests there are at a time.
	inFlight = 10
)

// snapshotter implements snapshot.Snapshotter.
type snapshotter struct {
	config   settings
	location snapshot.Config
	manager  *store.AzureManager
	options  *arm.ClientOptions
	// disks is where the cluster's disks are, snapshots where new snapshots go.
	disks, snapshots place
	pace             pace

	mu      sync.Mutex
	clients map[string]*clients // guarded by mu; by subscription
}

// clients are those of a subscription.
type clients struct {
	disks     *armcompute.DisksClient
	snapshots *armcompute.SnapshotsClient
}

var _ snapshot.Snapshotter = (*snapshotter)(nil)

// Open returns the snapshotter of a location. It sends nothing.
func Open(_ context.Context, c snapshot.Config) (snapshot.Snapshotter, error) { return open(c) }

func open(c snapshot.Config) (*snapshotter, error) {
	parsed, err := parseSettings(c.Settings)
	if err != nil {
		return nil, c.Errorf("%w", err)
	}
	manager, err := store.OpenAzureManager(store.Location{
		Config:          c.Settings,
		CACert:          c.CACert,
		CredentialsFile: c.CredentialsFile,
	}, c.Endpoint)
	if err != nil {
		return nil, c.Errorf("%w", err)
	}
	s := &snapshotter{
		config:   parsed,
		location: c,
		manager:  manager,
		disks:    place{manager.Subscription(), manager.ResourceGroup()},
		options:  managerOptions(manager),
		pace:     pace{first: 500 * time.Millisecond, longest: 5 * time.Second},
		clients:  map[string]*clients{},
	}
	if err := s.disks.check(manager.CredentialsSource()); err != nil {
		return nil, c.Errorf("%w", err)
	}
	s.snapshots = s.disks.or(parsed.snapshots)
	return s, nil
}

// managerOptions are those of all clients of a location: they share a gate.
func managerOptions(manager *store.AzureManager) *arm.ClientOptions {
	options := &arm.ClientOptions{ClientOptions: manager.ClientOptions(), DisableRPRegistration: true}
	options.Retry.MaxRetries = requestRetries
	options.Retry.MaxRetryDelay = longestRetry
	options.PerRetryPolicies = []policy.Policy{newGate(inFlight)}
	return options
}

// of returns the clients of a subscription.
func (s *snapshotter) of(subscription string) (*clients, error) {
	key := strings.ToLower(subscription)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[key]; c != nil {
		return c, nil
	}
	factory, err := armcompute.NewClientFactory(subscription, s.manager.Identity(), s.options)
	if err != nil {
		return nil, s.location.Errorf("%w", err)
	}
	c := &clients{factory.NewDisksClient(), factory.NewSnapshotsClient()}
	s.clients[key] = c
	return c, nil
}

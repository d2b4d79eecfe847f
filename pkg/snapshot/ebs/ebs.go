// Package ebs takes and deletes snapshots of EBS volumes, Amazon's disks, and makes
// volumes of them. It asks EC2 through the official SDK.
package ebs

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// inFlight is how many requests there are at a time. EC2 counts those of the
	// whole account: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
	inFlight = 10
	// throttledAttempts is how often a request is sent that EC2 puts off; with the
	// pauses between them that is more than a minute.
	throttledAttempts = 12
	// failedAttempts is how often one is sent that fails in another way.
	failedAttempts = 3
	// clusterVariable is the name of the cluster that restored volumes belong to, as
	// in Velero's plugin.
	clusterVariable = "AWS_CLUSTER_NAME"
)

// pauses are how long to wait.
type pauses struct {
	// request is the longest one between two attempts at a request.
	request time.Duration
	// poll is the first one between two questions for a state, pollMax the longest.
	poll, pollMax time.Duration
	// visible is how long something new may be unknown to EC2, which is consistent
	// only eventually.
	visible time.Duration
}

var usualPauses = pauses{request: 20 * time.Second, poll: time.Second, pollMax: 5 * time.Second, visible: time.Minute}

// snapshotter is a snapshot.Snapshotter of one region of an account.
type snapshotter struct {
	config  snapshot.Config
	region  string
	kmsKey  string // for volumes that are made; empty for that of the snapshot
	cluster string
	account *store.Amazon
	client  *ec2.Client
	pauses  pauses
	slots   chan struct{} // one for each request in flight

	mu    sync.Mutex
	disks map[string]types.Volume // guarded by mu; what Disk has read, for Create
	fresh map[string]time.Time    // guarded by mu; when snapshots were made
}

var _ snapshot.Snapshotter = (*snapshotter)(nil)

// Open returns the snapshotter of a location. It sends nothing.
func Open(ctx context.Context, c snapshot.Config) (snapshot.Snapshotter, error) {
	return open(ctx, c, usualPauses)
}

func open(ctx context.Context, c snapshot.Config, p pauses) (*snapshotter, error) {
	s := &snapshotter{
		config: c, region: c.Settings["region"], kmsKey: c.Settings["ebsKmsKeyId"], cluster: os.Getenv(clusterVariable),
		pauses: p, slots: make(chan struct{}, inFlight), disks: map[string]types.Volume{}, fresh: map[string]time.Time{},
	}
	if s.region == "" {
		return nil, c.Errorf("config key \"region\" is missing; hint: set it to the region of the disks, such as region=eu-central-1")
	}
	var err error
	s.account, err = store.OpenAmazon(ctx, store.AmazonIdentity{
		CredentialsFile: c.CredentialsFile, ConfiguredFile: c.Settings["credentialsFile"], Profile: c.Settings["profile"],
		CACert: c.CACert, Region: s.region, MaxAttempts: throttledAttempts, MaxBackoff: p.request,
	})
	if err != nil {
		return nil, c.Errorf("%w", err)
	}
	s.client = ec2.NewFromConfig(s.account.Config(), func(o *ec2.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
	})
	return s, nil
}

// call is one kind of request of the SDK.
type call[In, Out any] func(context.Context, *In, ...func(*ec2.Options)) (*Out, error)

// attempt is what is tried: op says it, for the error.
type attempt struct {
	s  *snapshotter
	op string
	// once is for requests that must not be repeated if they may have been carried
	// out.
	once bool
}

// send sends a request as soon as there are few enough in flight.
func send[In, Out any](ctx context.Context, a attempt, request call[In, Out], in *In) (*Out, error) {
	select {
	case a.s.slots <- struct{}{}:
		defer func() { <-a.s.slots }()
	case <-ctx.Done():
		return nil, a.s.fail(ctx, a.op, errors.Join(errNotSent, ctx.Err()))
	}
	out, err := request(ctx, in, func(o *ec2.Options) { o.Retryer = &tries{Retryer: o.Retryer, once: a.once} })
	if err != nil {
		return nil, a.s.fail(ctx, a.op, err)
	}
	return out, nil
}

// tries decides whether one request is sent again: for long when EC2 is too busy for
// it, else twice at most.
type tries struct {
	aws.Retryer
	once   bool
	failed int
}

// IsErrorRetryable implements aws.Retryer.
func (t *tries) IsErrorRetryable(err error) bool {
	if throttled(err) {
		return true
	}
	t.failed++
	return t.failed < failedAttempts && t.Retryer.IsErrorRetryable(err) && !(t.once && unclear(err))
}

// throttled says that EC2 has put a request off.
func throttled(err error) bool {
	return codeOf(err) == codeVolumeRate || retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool()
}

// wait pauses before the next question for a state; n is how many there were.
func (s *snapshotter) wait(ctx context.Context, n int) error {
	pause := s.pauses.poll
	for range n {
		pause = min(pause*3/2, s.pauses.pollMax)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(pause):
		return nil
	}
}

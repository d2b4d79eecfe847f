package store

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// renewPause is how long credentials that were just renewed are not renewed again:
// several requests meet the end of a token at once.
const renewPause = 5 * time.Second

// secretKeeper hands out credentials, renews those that the store calls expired,
// and remembers what must be kept out of error texts.
type secretKeeper struct {
	// load makes a provider anew, so that a credentials file is read again; nil if
	// there is none.
	load func(context.Context) (aws.CredentialsProvider, error)
	// fixed are secrets that never change.
	fixed []string

	mu       sync.Mutex
	provider aws.CredentialsProvider // guarded by mu
	last     aws.Credentials         // guarded by mu
	renewed  time.Time               // guarded by mu
}

// credentialsError tells trouble on the way to credentials from trouble with
// the store.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "get credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve is called by the SDK for every attempt; the provider caches.
func (k *secretKeeper) Retrieve(ctx context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	provider := k.provider
	k.mu.Unlock()
	if provider == nil {
		return aws.Credentials{}, &credentialsError{errors.New("there are none")}
	}
	c, err := provider.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = c
	return c, nil
}

// retryExpired says yes to a repetition of what was refused for credentials that
// have expired before their time, if there are newer ones: a clock may be wrong,
// and the file of a mounted Secret may have been replaced.
func (k *secretKeeper) retryExpired(err error) aws.Ternary {
	var api smithy.APIError
	if errors.As(err, &api) && slices.Contains(codesExpired, api.ErrorCode()) && k.renew() {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// renew sees to it that the next Retrieve gives newer credentials, as far as that
// can be known.
func (k *secretKeeper) renew() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch cache, ok := k.provider.(*aws.CredentialsCache); {
	case time.Since(k.renewed) < renewPause:
		return true
	case ok && k.last.CanExpire:
		cache.Invalidate()
	case !k.reload():
		return false
	}
	k.renewed = time.Now()
	return true
}

// reload reads the credentials again, and says whether they are others. It is
// called with the mutex held; no request is made.
func (k *secretKeeper) reload() bool {
	if k.load == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	provider, err := k.load(ctx)
	if err != nil || provider == nil {
		return false
	}
	c, err := provider.Retrieve(ctx)
	if err != nil || c.AccessKeyID == k.last.AccessKeyID && c.SecretAccessKey == k.last.SecretAccessKey && c.SessionToken == k.last.SessionToken {
		return false
	}
	k.provider = provider
	return true
}

// renewedSince says whether other credentials have been found since then.
func (k *secretKeeper) renewedSince(t time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.renewed.After(t)
}

func (k *secretKeeper) secrets() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string{
		k.last.SecretAccessKey, url.QueryEscape(k.last.SecretAccessKey),
		k.last.SessionToken, url.QueryEscape(k.last.SessionToken),
	}, k.fixed...)
}

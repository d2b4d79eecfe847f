package store

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

const (
	azureDateHeader = "x-ms-date"
	azureCodeHeader = "x-ms-error-code"
	// clockTolerance is less than the 15 minutes by which a signed request's date
	// may differ from the store's clock.
	clockTolerance = 5 * time.Minute
	// keyAge is how old a key must be that we ask for again.
	keyAge = time.Minute
)

// azureClock is how far the store's clock is ahead of ours. It may be used
// concurrently.
type azureClock struct {
	mu     sync.Mutex
	offset time.Duration // guarded by mu; zero until a request was refused for it
}

func (c *azureClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// learn compares a refusal's date with the one that the request had, and says
// whether they differ so much that it is worth to try again. Requests that were
// under way together each get their second chance.
func (c *azureClock) learn(sent time.Time, refusal *http.Response) bool {
	server, err := http.ParseTime(refusal.Header.Get("Date"))
	if err != nil || server.Sub(sent).Abs() < clockTolerance {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = time.Until(server)
	return true
}

// azureSigner gives a request that is signed with the account's key a second
// chance: with the store's idea of the time, or with the key that Azure has now.
type azureSigner struct{ account *azureAccount }

// Do implements policy.Policy, once for a request with all its attempts.
func (s azureSigner) Do(request *policy.Request) (*http.Response, error) {
	ctx := request.Raw().Context()
	sent := s.date(request)
	response, err := request.Clone(ctx).Next()
	if err != nil || response.StatusCode != http.StatusForbidden || !s.corrected(ctx, sent, response) {
		return response, err
	}
	_, _ = io.Copy(io.Discard, response.Body) // so that the connection can be used again
	_ = response.Body.Close()
	if err := request.RewindBody(); err != nil {
		return nil, err
	}
	s.date(request)
	return request.Next()
}

// date writes the header as the SDK does, which finds it by these very letters, and
// returns what it wrote.
func (s azureSigner) date(request *policy.Request) time.Time {
	now := s.account.clock.now()
	request.Raw().Header[azureDateHeader] = []string{now.UTC().Format(http.TimeFormat)}
	return now
}

func (s azureSigner) corrected(ctx context.Context, sent time.Time, response *http.Response) bool {
	// Azurite has the second code for a wrong key.
	switch bloberror.Code(response.Header.Get(azureCodeHeader)) {
	case bloberror.AuthenticationFailed, bloberror.AuthorizationFailure:
	default:
		return false
	}
	if s.account.clock.learn(sent, response) {
		return true
	}
	if !s.account.keyMayBeOld() {
		return false
	}
	changed, err := s.account.fetchKey(ctx)
	return err == nil && changed
}

// keyMayBeOld says that the key came from Azure, a while ago.
func (a *azureAccount) keyMayBeOld() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.fetched.IsZero() && time.Since(a.fetched) > keyAge
}

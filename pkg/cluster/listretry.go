package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// patience is how long a list or get bears with an API server.
type patience struct {
	// First is the wait after the first failure; each further one is twice as
	// long, to at most Longest. A part of each is left to chance, so that lists
	// which failed together don't come back together.
	First, Longest time.Duration
	// RetryAfter bounds the wait that the API server asks for.
	RetryAfter time.Duration
	// Total is how long nothing may succeed: a control plane of one node that is
	// upgraded, or an etcd that elects a leader, is away for a few minutes.
	Total time.Duration
	// Broken is how often a response may break off, or its snapshot be gone,
	// without a new object: again and again is no accident.
	Broken int
	// Silence is how long the API server may keep silent before and within a
	// response. It gives up requests itself after a minute.
	Silence time.Duration
}

func standardPatience() patience {
	return patience{
		First: 200 * time.Millisecond, Longest: 30 * time.Second, RetryAfter: time.Minute,
		Total: 5 * time.Minute, Broken: 6, Silence: 75 * time.Second,
	}
}

// attempts counts the failures of one page or object since the last success.
type attempts struct {
	patience
	failures, broken int
	since            time.Time // of the first failure
}

// succeeded forgets the failures.
func (a *attempts) succeeded() { a.failures, a.broken = 0, 0 }

// wait waits before the next attempt, or returns why there is none.
func (a *attempts) wait(ctx context.Context, err error) error {
	if !passes(err) {
		return err
	}
	if a.failures++; a.failures == 1 {
		a.since = time.Now()
	}
	if errors.Is(err, errBroken) || errors.Is(err, errExpired) {
		a.broken++
	}
	delay := a.delay(err)
	if a.broken >= a.Broken || time.Since(a.since)+delay > a.Total {
		return err
	}
	return sleep(ctx, delay)
}

func (a *attempts) delay(err error) time.Duration {
	delay := a.Longest
	if doublings := a.failures - 1; doublings < 16 {
		delay = min(a.Longest, a.First<<doublings)
	}
	delay = delay/2 + rand.N(delay/2+1)
	var failed *requestError
	if errors.As(err, &failed) && failed.retryAfter > 0 {
		// Not earlier than asked for, and not all at once.
		return min(failed.retryAfter, a.RetryAfter) + delay/4
	}
	return delay
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// errSilent says that the API server kept silent for too long.
var errSilent = errors.New("the API server sent nothing for too long")

// passes reports whether a request that failed with err may succeed a little
// later, although nothing was changed.
func passes(err error) bool {
	return overloaded(err) || errors.Is(err, errBroken) || errors.Is(err, errExpired) || unreachable(err) || badGateway(err) || etcdFailed(err)
}

// overloaded reports whether err says that the API server has too much to do.
func overloaded(err error) bool {
	return apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || errors.Is(err, errSilent) ||
		hasCode(err, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}

// errExpired says that the API server no longer has the snapshot that it was
// asked for, so that another request is to be sent.
var errExpired = errors.New("the API server no longer has the list's snapshot")

func badGateway(err error) bool { return hasCode(err, http.StatusBadGateway) }

// etcdFailed reports whether the API server had no answer from etcd, which it
// passes on as an internal error with the text of etcd or of the connection to
// it: "etcdserver: leader changed", "etcdserver: request timed out".
func etcdFailed(err error) bool {
	return hasCode(err, http.StatusInternalServerError) && containsAny(err.Error(), []string{
		"etcdserver: ", "rpc error: code = Unavailable", "rpc error: code = DeadlineExceeded",
	})
}

func hasCode(err error, codes ...int32) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	for _, code := range codes {
		if status.Status().Code == code {
			return true
		}
	}
	return false
}

// unreachable reports whether the connection failed, not the request.
func unreachable(err error) bool {
	for _, code := range []error{
		syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || utilnet.IsProbableEOF(err) || utilnet.IsHTTP2ConnectionLost(err)
}

// retryAfter returns the wait that a response asks for, 0 for none.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

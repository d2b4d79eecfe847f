package armtest

import (
	"net/http"
	"strings"
)

// Fault is what goes wrong with requests.
type Fault struct {
	// Method and a part of Path choose the requests; empty means all.
	Method, Path string
	// Times is how often; 0 means for ever.
	Times int
	// Status, Code and Message are the answer.
	Status        int
	Code, Message string
	// RetryAfter is the header of that name, in seconds.
	RetryAfter string
	// Async takes the request, and lets the operation fail.
	Async bool
	// Drop breaks the connection, with Async after the work is done.
	Drop bool
}

// Throttle is Azure's answer to too many requests.
func Throttle(method, path string, times int, retryAfter string) Fault {
	return Fault{
		Method: method, Path: path, Times: times, RetryAfter: retryAfter,
		Status: http.StatusTooManyRequests, Code: "SubscriptionRequestsThrottled",
		Message: "Number of requests for subscription '" + Subscription + "' exceeded the limit. Please try again later.",
	}
}

// Fault adds one. The first that fits a request counts.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults takes all away.
func (s *Server) ClearFaults() { s.set(func() { s.faults = nil }) }

// faultOf is the fault of a request, or nil. The caller holds the lock.
func (s *Server) faultOf(r *http.Request) *Fault {
	for i, f := range s.faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(strings.ToLower(r.URL.Path), strings.ToLower(f.Path)) {
			continue
		}
		if f.Times == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

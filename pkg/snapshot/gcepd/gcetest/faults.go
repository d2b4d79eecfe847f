package gcetest

import "net/http"

// Fault is something that goes wrong. The first one that fits a request is used.
type Fault struct {
	// Method is the API's name of what goes wrong, such as "snapshots.insert"; empty
	// is everything, but "token", which is to get a token.
	Method string
	// Name is that of the resource; empty is any.
	Name string
	// Skip is how many requests go well before, Times how many then go wrong; 0 is all.
	Skip, Times int

	// Status, Reason and Message are the answer, if Status is set. Detail is the
	// reason that its details give, RetryAfter is in seconds.
	Status                  int
	Reason, Message, Detail string
	RetryAfter              int
	// Operation is the code with which the operation fails that the request begins,
	// such as "QUOTA_EXCEEDED"; nothing else is done. Message goes with it.
	Operation string
	// Lose breaks the connection in place of doing something, LoseAnswer when it is
	// done.
	Lose, LoseAnswer bool
	// Before is called before anything else, with no lock held.
	Before func()
}

// Throttled is the fault of a method that comes too often, so many times.
func Throttled(method string, times int) Fault {
	return Fault{
		Method: method, Times: times, Status: http.StatusForbidden, Reason: "rateLimitExceeded", Message: "Rate Limit Exceeded",
		Detail: "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
	}
}

// SetFaults replaces all faults; none clears them.
func (s *Server) SetFaults(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	for _, f := range faults {
		s.faults = append(s.faults, &f)
	}
}

// faultFor is the fault that a request meets, or nil.
func (s *Server) faultFor(r *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Method != r.method && (f.Method != "" || r.method == "token") || f.Name != "" && f.Name != r.name || f.Times < 0 {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			return nil
		}
		if f.Times == 1 {
			f.Times = -1 // used up
		} else if f.Times > 1 {
			f.Times--
		}
		met := *f
		return &met
	}
	return nil
}

func (f *Fault) refusal() *refusal {
	if f.Status == 0 {
		return nil
	}
	return &refusal{status: f.Status, reason: f.Reason, message: f.Message, detail: f.Detail, retryAfter: f.RetryAfter}
}

// operationStatus goes with the code of an operation.
func (f *Fault) operationStatus() int {
	switch f.Operation {
	case "QUOTA_EXCEEDED":
		return http.StatusForbidden
	case "RESOURCE_NOT_FOUND":
		return http.StatusNotFound
	case "INTERNAL_ERROR":
		return http.StatusInternalServerError
	case "ZONE_RESOURCE_POOL_EXHAUSTED":
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

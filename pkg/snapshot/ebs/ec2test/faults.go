package ec2test

import (
	"net/http"
	"net/url"
	"time"
)

// Fault is what goes wrong with some requests.
type Fault struct {
	// Action is the requests', such as "CreateSnapshot"; empty for all.
	Action string
	// ID is the disk or snapshot that they name; empty for all.
	ID string
	// Code and Message are the error's. Status is 503 for RequestLimitExceeded and
	// Unavailable, 500 for InternalError, 403 for UnauthorizedOperation, 401 for
	// AuthFailure and 400 for others, unless it says something else. An empty Code is
	// no error.
	Code, Message string
	Status        int
	// Times is how many requests it spoils; 0 for all.
	Times int
	// Done has the request carried out, though its answer is the error: the answer of
	// the server was lost on its way.
	Done bool
	// Cut closes the connection rather than answer.
	Cut bool
	// Delay is how long an answer takes.
	Delay time.Duration

	used int
}

// Fault has requests fail, beside earlier faults; the earliest that fits counts.
func (s *Server) Fault(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// fault is the one that a request meets.
func (s *Server) fault(v url.Values) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Action != "" && f.Action != v.Get("Action") || f.ID != "" && f.ID != idOf(v) || f.Times > 0 && f.used >= f.Times {
			continue
		}
		f.used++
		return f
	}
	return nil
}

// statuses are those of codes whose isn't 400.
var statuses = map[string]int{
	"RequestLimitExceeded":  http.StatusServiceUnavailable,
	"Unavailable":           http.StatusServiceUnavailable,
	"InternalError":         http.StatusInternalServerError,
	"UnauthorizedOperation": http.StatusForbidden,
	"AuthFailure":           http.StatusUnauthorized,
}

func (f *Fault) refusal() *refusal {
	r := refuse(f.Code, f.Message)
	if status := statuses[f.Code]; status != 0 {
		r.status = status
	}
	if f.Status != 0 {
		r.status = f.Status
	}
	if f.Message == "" {
		r.message = "An error of the test."
	}
	return r
}

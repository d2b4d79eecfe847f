package armtest

import (
	"fmt"
	"net/http"
	"time"
)

// operation is one that takes its time:
// https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
type operation struct {
	on   *Resource
	left int // looks at it until it ends; below zero: never
	// end is called once, when it has ended well, with the lock held.
	end func()
	// failure is how it ends otherwise; nil if it doesn't.
	failure *Fault
	// broken is called once when it fails, with the lock held.
	broken func()
	done   bool
}

// begin answers that an operation has begun. The caller holds the lock.
func (s *Server) begin(w http.ResponseWriter, subscription string, o *operation, body any) {
	s.serial++
	key := fmt.Sprintf("%08d-0000-4000-8000-000000000000", s.serial)
	s.operations[key] = o
	o.left = s.polls
	url := fmt.Sprintf("%s/subscriptions/%s/providers/Microsoft.Compute/locations/%s/DiskOperations/%s?p=x&api-version=2025-01-02", s.URL, subscription, Region, key)
	w.Header().Set("Azure-AsyncOperation", url)
	w.Header().Set("Location", url+"&monitor=true")
	answer(w, http.StatusAccepted, body)
}

// serveOperation tells how far an operation is. The caller holds the lock.
func (s *Server) serveOperation(w http.ResponseWriter, key string) {
	o := s.operations[key]
	if o == nil {
		refuse(w, http.StatusNotFound, "NotFound", "The operation '"+key+"' is not found.")
		return
	}
	o.look()
	body := map[string]any{"name": key, "startTime": "2026-01-02T03:04:05.0000000+00:00", "status": "InProgress"}
	if o.done {
		body["status"], body["endTime"] = "Succeeded", time.Now().UTC().Format(time.RFC3339Nano)
		if o.failure != nil {
			body["status"], body["error"] = "Failed", map[string]string{"code": o.failure.Code, "message": o.failure.Message}
		}
	}
	answer(w, http.StatusOK, body)
}

// look brings an operation nearer to its end.
func (o *operation) look() {
	if o.left > 0 {
		o.left--
	}
	if o.left != 0 || o.done {
		return
	}
	o.done = true
	if o.failure == nil {
		o.end()
	} else {
		o.broken()
	}
}

// lookAt brings what is done to a resource nearer to its end.
func (s *Server) lookAt(r *Resource) {
	for _, o := range s.operations {
		if o.on == r {
			o.look()
		}
	}
}

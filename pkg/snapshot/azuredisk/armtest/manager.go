package armtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// request is one to the resource manager, taken apart.
type request struct {
	*http.Request
	w                         http.ResponseWriter
	subscription, group, kind string
	name                      string // empty: the list
	fault                     *Fault // of an operation
}

func (r *request) id() string { return id(r.subscription, r.group, r.kind, r.name) }

var (
	resourcePath  = regexp.MustCompile(`^/subscriptions/([^/]+)/resource[gG]roups/([^/]+)/providers/Microsoft\.Compute/(disks|snapshots)(?:/([A-Za-z0-9_.-]+))?$`)
	operationPath = regexp.MustCompile(`^/subscriptions/([^/]+)/providers/Microsoft\.Compute/locations/[^/]+/DiskOperations/([^/]+)$`)
)

// serveManager answers requests to the resource manager, and writes them down.
func (s *Server) serveManager(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.running++
	s.busiest = max(s.busiest, s.running)
	s.serial++
	w.Header().Set("x-ms-request-id", fmt.Sprintf("request-%d", s.serial))
	s.mu.Unlock()

	recorded := &recorder{ResponseWriter: w, status: http.StatusOK}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve(recorded, r)
	s.running--
	s.calls = append(s.calls, Call{r.Method, r.URL.Path, recorded.status})
	if recorded.drop {
		panic(http.ErrAbortHandler) // the way of net/http to break a connection
	}
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
	drop   bool
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (s *Server) serve(w *recorder, r *http.Request) {
	fault := s.faultOf(r)
	switch {
	case fault != nil && fault.Drop:
		w.drop = true
		if !fault.Async {
			return
		}
		fault = nil
	case fault != nil && !fault.Async:
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		refuse(w, fault.Status, fault.Code, fault.Message)
		return
	}
	if !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		refuse(w, http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing or invalid.")
		return
	}
	if r.URL.Query().Get("api-version") == "" {
		refuse(w, http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		return
	}
	if match := operationPath.FindStringSubmatch(r.URL.Path); match != nil && r.Method == http.MethodGet {
		if s.allowed(w, "Microsoft.Compute/locations/DiskOperations/read", r.URL.Path) {
			s.serveOperation(w, match[2])
		}
		return
	}
	match := resourcePath.FindStringSubmatch(r.URL.Path)
	if match == nil {
		refuse(w, http.StatusNotFound, "InvalidResourceType", "The resource type could not be found.")
		return
	}
	s.serveResource(&request{r, w, match[1], match[2], match[3], match[4], fault})
}

func (s *Server) serveResource(r *request) {
	if r.subscription != Subscription && r.subscription != OtherSubscription {
		refuse(r.w, http.StatusNotFound, "SubscriptionNotFound", "The subscription '"+r.subscription+"' could not be found.")
		return
	}
	action := map[string]string{http.MethodGet: "read", http.MethodPut: "write", http.MethodDelete: "delete"}[r.Method]
	if action == "" || r.name == "" && r.Method != http.MethodGet {
		refuse(r.w, http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed.")
		return
	}
	if !s.allowed(r.w, "Microsoft.Compute/"+r.kind+"/"+action, r.id()) {
		return
	}
	known := strings.EqualFold(r.group, Group) && r.subscription == Subscription || strings.EqualFold(r.group, OtherGroup)
	if !known {
		refuse(r.w, http.StatusNotFound, "ResourceGroupNotFound", "Resource group '"+r.group+"' could not be found.")
		return
	}
	switch {
	case r.name == "":
		s.list(r)
	case r.Method == http.MethodGet:
		s.get(r)
	case r.Method == http.MethodPut:
		s.put(r)
	default:
		s.remove(r)
	}
}

// allowed refuses what the identity has no right to, and says whether it has.
func (s *Server) allowed(w http.ResponseWriter, action, scope string) bool {
	if s.has(action) {
		return true
	}
	refuse(w, http.StatusForbidden, "AuthorizationFailed", fmt.Sprintf("The client '%s' with object id '%[1]s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.", Client, action, scope))
	return false
}

func (s *Server) has(action string) bool {
	return s.rights == nil || slices.ContainsFunc(s.rights, func(right string) bool { return strings.EqualFold(right, action) })
}

// answer writes a body; nil is none.
func answer(w http.ResponseWriter, status int, body any) {
	if body == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// refuse answers in the resource manager's form:
// https://github.com/microsoft/api-guidelines/blob/vNext/azure/Guidelines.md#handling-errors
func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

package gcetest

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/api/compute/v1"
)

// serve is what all requests have in common.
func (s *Server) serve(method string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.enter()
		defer s.leave()
		r := &request{method: method, project: req.PathValue("project"), name: req.PathValue("name"), scope: "global", http: req}
		r.path = strings.TrimPrefix(req.URL.Path, root)
		switch {
		case req.PathValue("zone") != "":
			r.scope = "zones/" + req.PathValue("zone")
		case req.PathValue("region") != "":
			r.scope = "regions/" + req.PathValue("region")
		}
		var err error
		if r.body, err = io.ReadAll(req.Body); err != nil {
			return // the client went away
		}
		if r.name == "" {
			var named struct{ Name string }
			_ = json.Unmarshal(r.body, &named) // lists have none, the handler tells of the rest
			r.name = named.Name
		}
		s.answer(w, r, h)
	})
}

func (s *Server) answer(w http.ResponseWriter, r *request, h handler) {
	fault := s.faultFor(r)
	if fault != nil && fault.Before != nil {
		fault.Before()
	}
	var body []byte
	refused := s.authorized(r)
	if refused == nil && fault != nil {
		refused = fault.refusal()
	}
	if refused == nil && (fault == nil || !fault.Lose) {
		body, refused = s.do(r, h, fault)
	}
	if fault != nil && (fault.Lose || fault.LoseAnswer) {
		s.log(r, 0)
		breakConnection(w)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	status := http.StatusOK
	if refused != nil {
		status, body = refused.status, encode(refused.body())
		if refused.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refused.retryAfter))
		}
	}
	s.log(r, status)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client's error says more
}

// encode writes what the SDK or the server made, which can be written.
func encode(answer any) []byte {
	body, err := json.Marshal(answer)
	if err != nil {
		return []byte(err.Error())
	}
	return body
}

func breakConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close() // all that matters is that no answer comes
	}
}

// do runs a handler. A request that came before gets the operation of then.
func (s *Server) do(r *request, h handler, fault *Fault) ([]byte, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byRequest[r.http.URL.Query().Get("requestId")]; p != nil {
		return encode(p.begun()), nil
	}
	if refused := s.place(r); refused != nil {
		return nil, refused
	}
	if fault != nil && fault.Operation != "" {
		return encode(s.failing(r, fault)), nil
	}
	answer, refused := h(r)
	return encode(answer), refused
}

// failing is an operation that fails. The lock is held.
func (s *Server) failing(r *request, fault *Fault) compute.Operation {
	p := s.operationFor(r, "insert", r.path, func() bool { return true })
	p.op.Error = operationError(fault.Operation, fault.Message)
	p.op.HttpErrorStatusCode = int64(fault.operationStatus())
	p.op.HttpErrorMessage = strings.ToUpper(http.StatusText(fault.operationStatus()))
	return p.begun()
}

// place says whether there is such a zone or region. The lock is held.
func (s *Server) place(r *request) *refusal {
	kind, name, ok := strings.Cut(r.scope, "/")
	if !ok {
		return nil
	}
	for _, zone := range s.zones {
		if zone == name || kind == "regions" && strings.HasPrefix(zone, name+"-") {
			return nil
		}
	}
	kind = strings.TrimSuffix(kind, "s")
	return invalid("Invalid value for field '%s': '%s'. Unknown %s.", kind, name, kind)
}

func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight++
	s.mostAtOnce = max(s.mostAtOnce, s.inFlight)
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
}

func (s *Server) log(r *request, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{Method: r.method, Name: r.name, Query: r.http.URL.RawQuery, Status: status})
}

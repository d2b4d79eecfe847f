package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fault is an element of faults.json. The first one that fits a call decides.
type fault struct {
	// Method is the call, such as CreateSnapshot; empty is all.
	Method string `json:"method"`
	// ID must match a handle that the call is about; empty is all.
	ID string `json:"id"`
	// Code is the gRPC code to answer, empty to let the call go on.
	Code    string `json:"code"`
	Message string `json:"message"`
	// Late does the call's work before it answers the code.
	Late bool `json:"late"`
	// Delay passes before anything else; nanoseconds.
	Delay time.Duration `json:"delay"`
	// NotReady is in how many answers about a snapshot it isn't ready, -1 for all.
	// A fault with it is for the answers about snapshots only.
	NotReady int `json:"notReady"`
	// Times is how many calls it is for, 0 for all.
	Times int `json:"times"`

	id    *regexp.Regexp
	code  codes.Code
	calls int            // that it was for
	asked map[string]int // answers by snapshot
}

// faults are those of the file, which may change at any time. Counts begin anew
// with each content and each start of the driver.
type faults struct {
	file string

	mu   sync.Mutex
	body []byte
	all  []*fault
}

func newFaults(file string) *faults { return &faults{file: file} }

// read reads the file if it is another one than the last time. The lock is held.
func (f *faults) read() {
	body, err := os.ReadFile(f.file)
	if errors.Is(err, fs.ErrNotExist) {
		body, err = nil, nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "read faults:", err)
		return
	}
	if bytes.Equal(body, f.body) {
		return
	}
	all, err := parseFaults(body)
	if err != nil {
		fmt.Fprintf(os.Stderr, "read faults in %s: %v\n", f.file, err)
		return
	}
	f.body, f.all = body, all
}

func parseFaults(body []byte) ([]*fault, error) {
	var all []*fault
	if len(body) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	for _, one := range all {
		var err error
		if one.id, err = regexp.Compile(one.ID); err != nil {
			return nil, err
		}
		one.asked = map[string]int{}
		if one.Code == "" {
			continue
		}
		if one.code, err = parseCode(one.Code); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseCode reads a code as it is printed.
func parseCode(name string) (codes.Code, error) {
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == name {
			return c, nil
		}
	}
	return codes.OK, fmt.Errorf("there is no gRPC code %q", name)
}

// next returns the fault that is for this call, nil for none, and counts it.
func (f *faults) next(method string, s subject) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read()
	for _, one := range f.all {
		if one.NotReady == 0 && one.fits(method, s) && (one.Times == 0 || one.calls < one.Times) {
			one.calls++
			return one
		}
	}
	return nil
}

func (o *fault) fits(method string, s subject) bool {
	if o.Method != "" && o.Method != method {
		return false
	}
	if o.ID == "" {
		return true
	}
	for _, id := range s.handles() {
		if o.id.MatchString(id) {
			return true
		}
	}
	return false
}

// isOf says whether the fault is for this snapshot or for those of its volume.
func (o *fault) isOf(r record) bool {
	return o.fits(o.Method, subject{Volume: r.Source, Snapshot: r.ID, Group: r.Group})
}

// misbehave is an interceptor.
func (f *faults) misbehave(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := path.Base(info.FullMethod)
	s := subjectOf(request)
	one := f.next(method, s)
	if one == nil || (s == subject{} && one.Method == "") {
		return handler(ctx, request) // what only asks for capabilities always works
	}
	if one.Delay > 0 {
		select {
		case <-time.After(one.Delay):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
	if one.code == codes.OK {
		return handler(ctx, request)
	}
	if one.Late {
		if response, err := handler(ctx, request); err != nil {
			return response, err
		}
	}
	return nil, status.Error(one.code, one.Message)
}

// ready says whether a snapshot may be called ready now.
func (f *faults) ready(r record) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read()
	for _, one := range f.all {
		if one.NotReady != 0 && one.isOf(r) {
			return one.NotReady > 0 && one.asked[r.ID] > one.NotReady
		}
	}
	return true
}

// asked counts an answer about a snapshot, before it is given.
func (f *faults) asked(r record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read()
	for _, one := range f.all {
		if one.NotReady != 0 && one.isOf(r) {
			one.asked[r.ID]++
			return
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// call is a line of the journal.
type call struct {
	Time   time.Time `json:"time"` // when it came
	Took   float64   `json:"took"` // seconds
	Method string    `json:"method"`
	subject
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// journal writes down the calls, but for those that only ask what the driver is.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return &journal{file: f}, err
}

func (j *journal) close() error { return j.file.Close() }

// record is an interceptor.
func (j *journal) record(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	c := call{Time: time.Now(), Method: path.Base(info.FullMethod), subject: subjectOf(request)}
	response, err := handler(ctx, request)
	if c.subject == (subject{}) && c.Method != "ListSnapshots" {
		return response, err
	}
	c.Took, c.Code = time.Since(c.Time).Seconds(), status.Code(err).String()
	if err != nil {
		c.Message = status.Convert(err).Message()
	}
	if err := j.write(c); err != nil {
		fmt.Fprintln(os.Stderr, "write down a call:", err)
	}
	return response, err
}

// write writes a line at once, so that readers never see half of one.
func (j *journal) write(c call) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err = j.file.Write(append(line, '\n'))
	return err
}

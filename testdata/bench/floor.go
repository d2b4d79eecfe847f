package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// floorCommand is the floor as a process.
	floorCommand = "floor"
	floorPage    = 500
	floorKinds   = 8
	// floorLevel is the level of pkg/archive.
	floorLevel = gzip.DefaultCompression
	// edge is how much of both ends of a page is kept to find its token.
	edge = 8 << 10
)

// floorTask is what the floor reads from its stdin.
type floorTask struct {
	Kubeconfig string `json:"kubeconfig"`
	// Paths are the lists.
	Paths []string `json:"paths"`
	// Compressed says that responses may come gzipped.
	Compressed bool `json:"compressed"`
	// Plain says that pages are only read.
	Plain bool `json:"plain"`
}

// floorResult is what it writes to its stdout.
type floorResult struct {
	Pages int64 `json:"pages"`
	Bytes int64 `json:"bytes"`
}

func runFloor(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return errors.New("the floor reads its task from stdin")
	}
	var task floorTask
	if err := json.NewDecoder(os.Stdin).Decode(&task); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	f, err := newFloor(task)
	if err != nil {
		return err
	}
	if err := f.listAll(ctx, task.Paths); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(floorResult{Pages: f.pages.Load(), Bytes: f.bytes.Load()})
}

type floor struct {
	client *http.Client
	host   string
	plain  bool
	// writers are gzip writers for use again.
	writers sync.Pool
	pages   atomic.Int64
	bytes   atomic.Int64
}

func newFloor(task floorTask) (*floor, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", task.Kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.DisableCompression = !task.Compressed
	client, err := rest.HTTPClientFor(cfg)
	return &floor{client: client, host: cfg.Host, plain: task.Plain}, err
}

func (f *floor) listAll(ctx context.Context, paths []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(floorKinds)
	for _, path := range paths {
		group.Go(func() error { return f.list(ctx, path) })
	}
	return group.Wait()
}

// list reads one page after another.
func (f *floor) list(ctx context.Context, path string) error {
	query := url.Values{"limit": {strconv.Itoa(floorPage)}}
	for {
		next, err := f.page(ctx, path+"?"+query.Encode())
		if err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
		if next == "" {
			return nil
		}
		query.Set("continue", next)
	}
}

// page reads one page and returns the token of the next.
func (f *floor) page(ctx context.Context, path string) (next string, _ error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.host+path, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Accept", "application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", response.Status)
	}
	var ends edges
	n, err := f.consume(response.Body, &ends)
	if err != nil {
		return "", err
	}
	f.pages.Add(1)
	f.bytes.Add(n)
	return ends.token()
}

// consume reads a page and gzips it twice, unless it is only to be read.
func (f *floor) consume(page io.Reader, ends *edges) (int64, error) {
	if f.plain {
		return io.Copy(ends, page)
	}
	first, err := f.writer()
	if err != nil {
		return 0, err
	}
	defer f.writers.Put(first)
	second, err := f.writer()
	if err != nil {
		return 0, err
	}
	defer f.writers.Put(second)
	n, err := io.Copy(io.MultiWriter(first, second, ends), page)
	return n, errors.Join(err, first.Close(), second.Close())
}

// writer returns one that throws away. They are used again, as those of the
// archive are: a new one has more than a megabyte to clear.
func (f *floor) writer() (*gzip.Writer, error) {
	if gz, ok := f.writers.Get().(*gzip.Writer); ok {
		gz.Reset(io.Discard)
		return gz, nil
	}
	return gzip.NewWriterLevel(io.Discard, floorLevel)
}

// edges keep the two ends of what is written.
type edges struct{ head, tail []byte }

func (e *edges) Write(p []byte) (int, error) {
	if room := edge - len(e.head); room > 0 {
		e.head = append(e.head, p[:min(room, len(p))]...)
	}
	last := p[max(0, len(p)-edge):]
	e.tail = append(e.tail, last...)
	e.tail = e.tail[max(0, len(e.tail)-edge):]
	return len(p), nil
}

// token is the continue token: a list's metadata stands before its items, or,
// with custom resources, at the end.
func (e *edges) token() (string, error) {
	key := []byte(`"metadata":`)
	text := e.head
	at := bytes.Index(text, key)
	if items := bytes.Index(text, []byte(`"items":`)); at < 0 || (items >= 0 && items < at) {
		text = e.tail
		at = bytes.LastIndex(text, key)
	}
	if at < 0 {
		return "", errors.New("a page has no metadata")
	}
	var meta metav1.ListMeta
	if err := json.NewDecoder(bytes.NewReader(text[at+len(key):])).Decode(&meta); err != nil {
		return "", fmt.Errorf("read the metadata of a page: %w", err)
	}
	return meta.Continue, nil
}

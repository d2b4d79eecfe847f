package read_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	token  = "correct-horse-battery"
	logKey = "backups/shop/shop-logs.gz"
)

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// fakeBucket is a bucket in memory; a set function replaces the plain answer.
type fakeBucket struct {
	store.Bucket
	objects  map[string]string
	stat     func(ctx context.Context, key string) (store.ObjectInfo, error)
	get      func(ctx context.Context, key string) (io.ReadCloser, error)
	getRange func(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	list     func(ctx context.Context, prefix string) iter.Seq2[store.ObjectInfo, error]
}

func (b fakeBucket) Stat(ctx context.Context, key string) (store.ObjectInfo, error) {
	if b.stat != nil {
		return b.stat(ctx, key)
	}
	body, ok := b.objects[key]
	if !ok {
		return store.ObjectInfo{}, fmt.Errorf("look at %q: %w", key, store.ErrNotExist)
	}
	return store.ObjectInfo{Key: key, Size: int64(len(body)), ETag: `"v1"`, ModTime: time.Unix(1e9, 0)}, nil
}

func (b fakeBucket) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	if b.get != nil {
		return b.get(ctx, key)
	}
	return io.NopCloser(strings.NewReader(b.objects[key])), nil
}

func (b fakeBucket) GetRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if b.getRange != nil {
		return b.getRange(ctx, key, offset, length)
	}
	return io.NopCloser(io.NewSectionReader(strings.NewReader(b.objects[key]), offset, length)), nil
}

func (b fakeBucket) List(ctx context.Context, prefix string) iter.Seq2[store.ObjectInfo, error] {
	if b.list != nil {
		return b.list(ctx, prefix)
	}
	return func(yield func(store.ObjectInfo, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(b.objects)) {
			if strings.HasPrefix(key, prefix) && !yield(store.ObjectInfo{Key: key}, nil) {
				return
			}
		}
	}
}

func shop() fakeBucket {
	return fakeBucket{objects: map[string]string{
		logKey:                             "0123456789",
		"backups/shop/velero-backup.json":  "{}",
		"backups/shop/empty":               "",
		"backups/shop2/velero-backup.json": "not yours",
		"restores/r1/restore-r1-logs.gz":   "restored",
		"restores/r1/restore-r1-results":   "not asked for",
	}}
}

// reader is a reader that runs.
type reader struct {
	url     string
	stop    context.CancelFunc
	log     *safeBuffer
	summary report.Summary
	err     error
	ended   chan struct{}
}

func start(t *testing.T, cfg read.Config) *reader {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{url: "http://" + listener.Addr().String(), stop: cancel, log: &safeBuffer{}, ended: make(chan struct{})}
	cfg.Listener, cfg.Log = listener, slog.New(slog.NewTextHandler(r.log, nil))
	cfg.TokenSHA256 = hash(token)
	if cfg.Prefixes == nil {
		cfg.Prefixes = []string{"backups/shop/", "restores/r1/restore-r1-logs.gz"}
	}
	go func() {
		defer close(r.ended)
		r.summary, r.err = read.Run(ctx, cfg)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.ended
		if strings.Contains(r.log.String(), token) {
			t.Errorf("the log shows the token:\n%s", r.log.String())
		}
	})
	return r
}

func (r *reader) do(t *testing.T, method, target string, header map[string]string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.url+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for key, value := range header {
		request.Header.Set(key, value)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	type want struct {
		status int
		body   string
		header map[string]string
	}
	for name, test := range map[string]struct {
		method, target string
		header         map[string]string
		want           want
	}{
		"whole object": {target: "/" + logKey, want: want{200, "0123456789", map[string]string{
			"Content-Length": "10", "ETag": `"v1"`, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}}},
		"head":         {method: "HEAD", target: "/" + logKey, want: want{200, "", map[string]string{"Content-Length": "10"}}},
		"empty object": {target: "/backups/shop/empty", want: want{200, "", map[string]string{"Content-Length": "0"}}},
		"one single key allowed": {target: "/restores/r1/restore-r1-logs.gz",
			want: want{status: 200, body: "restored"}},
		"range from": {target: "/" + logKey, header: map[string]string{"Range": "bytes=4-"},
			want: want{206, "456789", map[string]string{"Content-Range": "bytes 4-9/10", "Content-Length": "6"}}},
		"range to":       {target: "/" + logKey, header: map[string]string{"Range": "bytes=2-3"}, want: want{206, "23", map[string]string{"Content-Range": "bytes 2-3/10"}}},
		"range too long": {target: "/" + logKey, header: map[string]string{"Range": "bytes=8-99"}, want: want{206, "89", map[string]string{"Content-Range": "bytes 8-9/10"}}},
		"range suffix":   {target: "/" + logKey, header: map[string]string{"Range": "bytes=-3"}, want: want{206, "789", map[string]string{"Content-Range": "bytes 7-9/10"}}},
		"range of head": {method: "HEAD", target: "/" + logKey, header: map[string]string{"Range": "bytes=4-"},
			want: want{206, "", map[string]string{"Content-Range": "bytes 4-9/10", "Content-Length": "6"}}},
		"range beyond the end": {target: "/" + logKey, header: map[string]string{"Range": "bytes=10-"},
			want: want{416, "\"backups/shop/shop-logs.gz\" has 10 bytes\n", map[string]string{"Content-Range": "bytes */10"}}},
		"range of nothing":       {target: "/backups/shop/empty", header: map[string]string{"Range": "bytes=0-"}, want: want{416, "\"backups/shop/empty\" has 0 bytes\n", nil}},
		"several ranges":         {target: "/" + logKey, header: map[string]string{"Range": "bytes=0-1,3-4"}, want: want{200, "0123456789", nil}},
		"range in another unit":  {target: "/" + logKey, header: map[string]string{"Range": "lines=0-1"}, want: want{200, "0123456789", nil}},
		"range backwards":        {target: "/" + logKey, header: map[string]string{"Range": "bytes=5-2"}, want: want{200, "0123456789", nil}},
		"range without numbers":  {target: "/" + logKey, header: map[string]string{"Range": "bytes=-"}, want: want{200, "0123456789", nil}},
		"resume, same version":   {target: "/" + logKey, header: map[string]string{"Range": "bytes=9-", "If-Range": `"v1"`}, want: want{206, "9", nil}},
		"resume, other version":  {target: "/" + logKey, header: map[string]string{"Range": "bytes=9-", "If-Range": `"v0"`}, want: want{200, "0123456789", nil}},
		"list":                   {target: "/?prefix=backups/shop/", want: want{200, `["backups/shop/empty","backups/shop/shop-logs.gz","backups/shop/velero-backup.json"]`, map[string]string{"Content-Type": "application/json"}}},
		"list narrower":          {target: "/?prefix=backups/shop/velero", want: want{200, `["backups/shop/velero-backup.json"]`, nil}},
		"list nothing":           {target: "/?prefix=backups/shop/none/", want: want{200, `[]`, nil}},
		"list without a prefix":  {target: "/", want: want{403, "prefix \"\" isn't served here\n", nil}},
		"list of neighbours":     {target: "/?prefix=backups/shop", want: want{403, "prefix \"backups/shop\" isn't served here\n", nil}},
		"list of a single key":   {target: "/?prefix=restores/r1/restore-r1-logs.gz", want: want{403, "prefix \"restores/r1/restore-r1-logs.gz\" isn't served here\n", nil}},
		"missing object":         {target: "/backups/shop/none", want: want{404, "look at \"backups/shop/none\": " + store.ErrNotExist.Error() + "\n", nil}},
		"other backup":           {target: "/backups/shop2/velero-backup.json", want: want{403, "key \"backups/shop2/velero-backup.json\" isn't served here\n", nil}},
		"neighbour of a key":     {target: "/restores/r1/restore-r1-results", want: want{403, "key \"restores/r1/restore-r1-results\" isn't served here\n", nil}},
		"traversal":              {target: "/backups/shop/../shop2/velero-backup.json", want: want{403, "key \"backups/shop/../shop2/velero-backup.json\" isn't served here\n", nil}},
		"traversal, escaped":     {target: "/backups/shop/%2e%2e%2fshop2/velero-backup.json", want: want{403, "key \"backups/shop/../shop2/velero-backup.json\" isn't served here\n", nil}},
		"double slash":           {target: "//" + logKey, want: want{403, "key \"/backups/shop/shop-logs.gz\" isn't served here\n", nil}},
		"another method":         {method: "DELETE", target: "/" + logKey, want: want{405, "method DELETE isn't served here\n", map[string]string{"Allow": "GET, HEAD"}}},
		"no token":               {target: "/" + logKey, header: map[string]string{"Authorization": ""}, want: want{401, "wrong or no token\n", map[string]string{"WWW-Authenticate": "Bearer"}}},
		"wrong token":            {target: "/" + logKey, header: map[string]string{"Authorization": "Bearer x"}, want: want{401, "wrong or no token\n", nil}},
		"token in another shape": {target: "/" + logKey, header: map[string]string{"Authorization": "Basic " + token}, want: want{401, "wrong or no token\n", nil}},
		"done without a token":   {method: "POST", target: "/done", header: map[string]string{"Authorization": ""}, want: want{401, "wrong or no token\n", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, read.Config{Bucket: shop()})
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			response := r.do(t, method, test.target, test.header)
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := want{response.StatusCode, string(body), nil}
			for key := range test.want.header {
				if got.header == nil {
					got.header = map[string]string{}
				}
				got.header[key] = response.Header.Get(key)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoreErrorsBecomeAnswers(t *testing.T) {
	t.Parallel()
	denied := fmt.Errorf("read: %w", store.ErrDenied)
	broken := func(context.Context, string) (io.ReadCloser, error) { return nil, denied }
	for name, test := range map[string]struct {
		bucket fakeBucket
		target string
		header map[string]string
		status int
	}{
		"stat": {bucket: fakeBucket{stat: func(context.Context, string) (store.ObjectInfo, error) {
			return store.ObjectInfo{}, denied
		}}, target: "/" + logKey, status: 502},
		"get": {bucket: fakeBucket{objects: shop().objects, get: broken}, target: "/" + logKey, status: 502},
		"get of what was deleted meanwhile": {bucket: fakeBucket{objects: shop().objects, get: func(context.Context, string) (io.ReadCloser, error) {
			return nil, store.ErrNotExist
		}}, target: "/" + logKey, status: 404},
		"range": {bucket: fakeBucket{objects: shop().objects, getRange: func(context.Context, string, int64, int64) (io.ReadCloser, error) {
			return nil, denied
		}}, target: "/" + logKey, header: map[string]string{"Range": "bytes=1-"}, status: 502},
		"list breaks off in the middle": {bucket: fakeBucket{list: func(context.Context, string) iter.Seq2[store.ObjectInfo, error] {
			return func(yield func(store.ObjectInfo, error) bool) {
				if yield(store.ObjectInfo{Key: logKey}, nil) {
					yield(store.ObjectInfo{}, denied)
				}
			}
		}}, target: "/?prefix=backups/shop/", status: 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response := start(t, read.Config{Bucket: test.bucket}).do(t, http.MethodGet, test.target, test.header)
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status {
				t.Errorf("status = %d, want %d", response.StatusCode, test.status)
			}
			if text := string(body); test.status == 502 && text != denied.Error()+"\n" || text == "" {
				t.Errorf("body = %q", text)
			}
			if got := response.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("content type = %q", got)
			}
		})
	}
}

func TestBrokenTransferIsNoticed(t *testing.T) {
	t.Parallel()
	bucket := fakeBucket{objects: shop().objects, get: func(context.Context, string) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("012"), failing{})), nil
	}}
	response := start(t, read.Config{Bucket: bucket}).do(t, http.MethodGet, "/"+logKey, nil)
	if body, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("body %q, error %v; want an unexpected EOF", body, err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, store.ErrUnavailable }

func TestEnds(t *testing.T) {
	t.Parallel()
	t.Run("client is done", func(t *testing.T) {
		t.Parallel()
		r := start(t, read.Config{Bucket: shop()})
		if response := r.do(t, http.MethodPost, "/done", nil); response.StatusCode != http.StatusNoContent {
			t.Errorf("status = %d", response.StatusCode)
		}
		<-r.ended
		r.expect(t, report.Summary{Outcome: report.Completed})
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		r := start(t, read.Config{Bucket: shop(), Idle: 30 * time.Millisecond})
		<-r.ended
		r.expect(t, report.Summary{Outcome: report.Completed})
	})
	t.Run("signal", func(t *testing.T) {
		t.Parallel()
		r := start(t, read.Config{Bucket: shop()})
		r.stop()
		<-r.ended
		r.expect(t, report.Summary{Outcome: report.Cancelled, Reason: "stopped by a signal or a deadline"})
	})
}

// TestHandlers serves what another Job tells, without a bucket.
func TestHandlers(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	r := start(t, read.Config{
		Prefixes: []string{}, Done: done,
		Handlers: map[string]http.Handler{"/preview": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "told")
		})},
	})
	for target, want := range map[string]string{
		"/preview":          "200 told",
		"/preview/":         "403 key \"preview/\" isn't served here\n",
		"/" + logKey:        "403 key \"" + logKey + "\" isn't served here\n",
		"/?prefix=":         "403 prefix \"\" isn't served here\n",
		"/?prefix=backups/": "403 prefix \"backups/\" isn't served here\n",
		"/verify/shop":      "403 backup \"shop\" isn't served here\n",
		"/../preview/../x":  "403 key \"../preview/../x\" isn't served here\n",
	} {
		response := r.do(t, http.MethodGet, target, nil)
		body, err := io.ReadAll(response.Body)
		if got := fmt.Sprintf("%d %s", response.StatusCode, body); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", target, got, err, want)
		}
	}
	if response := r.do(t, http.MethodHead, "/preview", nil); response.StatusCode != http.StatusForbidden {
		t.Errorf("HEAD: %s", response.Status)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/preview", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: %s", response.Status)
	}
	close(done)
	<-r.ended
	r.expect(t, report.Summary{Outcome: report.Completed})
}

func (r *reader) expect(t *testing.T, want report.Summary) {
	t.Helper()
	if r.err != nil {
		t.Errorf("error: %v", r.err)
	}
	if diff := cmp.Diff(want, r.summary); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
}

func TestTransferOutlivesIdleAndSignal(t *testing.T) {
	t.Parallel()
	source, sink := io.Pipe()
	bucket := fakeBucket{objects: shop().objects, get: func(context.Context, string) (io.ReadCloser, error) {
		return source, nil
	}}
	r := start(t, read.Config{Bucket: bucket, Idle: 50 * time.Millisecond})
	bodies := make(chan string)
	go func() {
		body, err := io.ReadAll(r.do(t, http.MethodGet, "/"+logKey, nil).Body)
		bodies <- fmt.Sprintf("%s %v", body, err)
	}()
	_, _ = sink.Write([]byte("01234"))
	r.stop()
	select {
	case <-r.ended:
		t.Fatal("the reader ended while a transfer ran")
	case <-time.After(150 * time.Millisecond):
	}
	_, _ = sink.Write([]byte("56789"))
	if got := <-bodies; got != "0123456789 <nil>" {
		t.Errorf("body = %q", got)
	}
	<-r.ended
	r.expect(t, report.Summary{Outcome: report.Cancelled, Reason: "stopped by a signal or a deadline"})
}

func TestGraceCutsATransferThatStands(t *testing.T) {
	t.Parallel()
	bucket := fakeBucket{objects: shop().objects, get: func(ctx context.Context, _ string) (io.ReadCloser, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	r := start(t, read.Config{Bucket: bucket, Grace: 30 * time.Millisecond})
	go func() {
		request, _ := http.NewRequest(http.MethodGet, r.url+"/"+logKey, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
		}
	}()
	time.Sleep(50 * time.Millisecond)
	r.stop()
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the reader waits for ever")
	}
}

func TestWrongTokenDoesNotKeepTheServerAlive(t *testing.T) {
	t.Parallel()
	r := start(t, read.Config{Bucket: shop(), Idle: 100 * time.Millisecond})
	deadline := time.After(10 * time.Second)
	for {
		select {
		case <-r.ended:
			return
		case <-deadline:
			t.Fatal("the reader still runs")
		case <-time.After(20 * time.Millisecond):
			request, _ := http.NewRequest(http.MethodGet, r.url+"/", nil)
			if response, err := http.DefaultClient.Do(request); err == nil {
				_ = response.Body.Close()
			}
		}
	}
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  read.Config
		want string
	}{
		"no prefix":     {cfg: read.Config{TokenSHA256: hash(token)}, want: "no prefix to serve"},
		"whole bucket":  {cfg: read.Config{TokenSHA256: hash(token), Prefixes: []string{"/"}}, want: `prefix "/": want a relative path such as "backups/NAME/"`},
		"empty prefix":  {cfg: read.Config{TokenSHA256: hash(token), Prefixes: []string{""}}, want: `prefix "": want a relative path such as "backups/NAME/"`},
		"upward prefix": {cfg: read.Config{TokenSHA256: hash(token), Prefixes: []string{"backups/../"}}, want: `prefix "backups/../": want a relative path such as "backups/NAME/"`},
		"no token":      {cfg: read.Config{Prefixes: []string{"backups/"}}, want: "token hash: want 64 hexadecimal digits"},
		"short token":   {cfg: read.Config{Prefixes: []string{"backups/"}, TokenSHA256: "abcd"}, want: "token hash: want 64 hexadecimal digits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			summary, err := read.Run(t.Context(), test.cfg)
			if err == nil || err.Error() != test.want || summary.Outcome != report.Usage || summary.Reason != test.want {
				t.Errorf("Run = %+v, %v; want usage error %q", summary, err, test.want)
			}
		})
	}
}

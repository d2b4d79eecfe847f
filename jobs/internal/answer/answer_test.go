package answer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/jobs/read"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

const token = "secret"

// job runs an answer and returns its URL, and how it ends.
func job(t *testing.T, tell func(context.Context, url.Values, func(string) error) string) (string, <-chan report.Summary) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(token))
	ended := make(chan report.Summary, 1)
	go func() {
		summary, err := Run(t.Context(), Config[string]{
			Path: "/tale", Noun: "tale", Make: tell, Beat: func() string { return "beat" },
			Server: read.Config{TokenSHA256: hex.EncodeToString(hash[:]), Listener: listener, Log: slog.New(slog.DiscardHandler)},
		})
		if err != nil {
			summary.Reason = err.Error()
		}
		ended <- summary
	}()
	return "http://" + listener.Addr().String() + "/tale", ended
}

func ask(ctx context.Context, t *testing.T, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	url, ended := job(t, func(_ context.Context, query url.Values, send func(string) error) string {
		if err := send("once " + query.Get("who")); err != nil {
			t.Error(err)
		}
		return "end"
	})
	body, err := io.ReadAll(ask(t.Context(), t, url+"?who=upon").Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(string(body), "\"beat\"\n", ""), " ", "_"))
	if diff := cmp.Diff([]string{`"once_upon"`, `"end"`}, lines); diff != "" {
		t.Error(diff)
	}
	if got := <-ended; got.Outcome != report.Completed {
		t.Errorf("%+v", got)
	}
}

// TestOneClient: a second client is refused, and work ends when the first one goes.
func TestOneClient(t *testing.T) {
	t.Parallel()
	url, ended := job(t, func(ctx context.Context, _ url.Values, _ func(string) error) string {
		<-ctx.Done()
		return "too late"
	})
	ctx, leave := context.WithCancel(t.Context())
	first := bufio.NewReader(ask(ctx, t, url).Body)
	if line, err := first.ReadString('\n'); line != "\"beat\"\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if second := ask(t.Context(), t, url); second.StatusCode != http.StatusConflict {
		t.Errorf("a second client got %s", second.Status)
	}
	leave()
	if got := <-ended; got.Outcome != report.Cancelled {
		t.Errorf("%+v", got)
	}
}

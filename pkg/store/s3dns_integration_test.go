//go:build integration

package store

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/net/dns/dnsmessage"
)

// TestNameServerFailsForAWhile has names that can't be looked up for longer than a
// request may take; and a name that has been found once doesn't matter any more.
func TestNameServerFailsForAWhile(t *testing.T) {
	t.Parallel()
	const outage = 20 * time.Second
	names := startNameServer(t)
	names.set(dnsmessage.RCodeServerFailure)
	url := serveUploads(t, func(http.ResponseWriter, *http.Request) bool { return true })
	b := openAt(t, strings.Replace(url, "127.0.0.1", "store.example", 1), map[string]string{"partSizeMiB": "5"})
	client := awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
		transport.DialContext = names.dialer(namePatience).DialContext
		transport.DisableKeepAlives = true
	})
	b.client = s3.New(b.client.Options(), func(o *s3.Options) { o.HTTPClient = client })

	time.AfterFunc(outage, func() { names.set(dnsmessage.RCodeSuccess) })
	start := time.Now()
	if _, err := b.Stat(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < outage || took > outage+30*time.Second {
		t.Errorf("took %s", took)
	}
	names.set(dnsmessage.RCodeServerFailure)
	if err := b.Put(t.Context(), "k", bytes.NewReader(make([]byte, 16<<20))); err != nil {
		t.Error(err)
	}
}

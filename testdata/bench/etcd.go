package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
)

// etcd is the one below the cluster. What a restore has created is taken out
// there: without controllers no namespace ever goes away, and 10,000 deletes
// would heat up what is measured next. See
// https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/.
type etcd struct {
	client *http.Client
	url    string
}

// openEtcd connects as the API server does.
func (b *bed) openEtcd() (*etcd, error) {
	folder := filepath.Join(b.state, "clusters", b.set.name())
	body, err := os.ReadFile(filepath.Join(folder, "cluster.json"))
	if err != nil {
		return nil, fmt.Errorf("find etcd: %w", err)
	}
	var cluster struct{ Ports struct{ Etcd int } }
	if err := json.Unmarshal(body, &cluster); err != nil {
		return nil, fmt.Errorf("find etcd: %w", err)
	}
	file := func(name string) string { return filepath.Join(folder, "pki", name) }
	cfg := &rest.Config{TLSClientConfig: rest.TLSClientConfig{
		CAFile: file("etcd-ca.crt"), CertFile: file("apiserver-etcd-client.crt"), KeyFile: file("apiserver-etcd-client.key"),
	}}
	client, err := rest.HTTPClientFor(cfg)
	return &etcd{client: client, url: "https://127.0.0.1:" + strconv.Itoa(cluster.Ports.Etcd)}, err
}

// post calls a method of etcd and returns the revision that it answers with.
func (e *etcd) post(ctx context.Context, method string, arguments map[string]any) (revision int64, err error) {
	body, err := json.Marshal(arguments)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/v3/kv/"+method, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	response, err := e.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	var said struct {
		Header struct {
			Revision int64 `json:",string"`
		}
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("etcd %s: status %s: %s", method, response.Status, answer)
	}
	return said.Header.Revision, json.Unmarshal(answer, &said)
}

// remove deletes all keys that begin with prefix.
func (e *etcd) remove(ctx context.Context, prefix string) (revision int64, err error) {
	end := []byte(prefix)
	end[len(end)-1]++ // the first key behind them
	key := base64.StdEncoding.EncodeToString
	return e.post(ctx, "deleterange", map[string]any{"key": key([]byte(prefix)), "range_end": key(end)})
}

// storedAs are the kinds that etcd has under another name than the API.
var storedAs = map[string]string{"services": "services/specs"}

// wipe removes all objects of the data set, and waits until the API server
// knows. The space is free for the next, as it is after a cluster's own
// compactions.
func (b *restoreBench) wipe(ctx context.Context) error {
	const parallel = 8
	var latest atomic.Int64
	group, deleting := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, prefix := range b.prefixes() {
		group.Go(func() error {
			revision, err := b.etcd.remove(deleting, prefix)
			for before := latest.Load(); revision > before && !latest.CompareAndSwap(before, revision); {
				before = latest.Load()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	if err := b.awaitEmpty(ctx); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	_, err := b.etcd.post(ctx, "compaction", map[string]any{"revision": strconv.FormatInt(latest.Load(), 10), "physical": true})
	return err
}

// awaitEmpty waits until the API server's cache has followed. Lists are fresh by
// revision, and here many objects went in one.
func (b *restoreBench) awaitEmpty(ctx context.Context) error {
	const attempts = 100
	for attempt := range attempts {
		live, err := b.live(ctx, "")
		if err != nil {
			return err
		}
		if len(live) == 0 {
			return nil
		}
		if attempt == attempts-1 {
			return fmt.Errorf("the API server still has %s", live.counts())
		}
		time.Sleep(settle)
	}
	return nil
}

// prefixes are those of the keys that hold the data set, namespaces last.
func (b *restoreBench) prefixes() []string {
	const registry = "/registry"
	var all []string
	for _, namespace := range b.set.namespaces() {
		for _, resource := range mixResources {
			stored := resource.Resource
			if name, other := storedAs[stored]; other {
				stored = name
			}
			all = append(all, path.Join(registry, stored, namespace)+"/")
		}
	}
	return append(all, path.Join(registry, "namespaces", namespacePrefix))
}

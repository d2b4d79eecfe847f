// Command hookapp is what the containers of the hook tests run: it stays up, and
// its other commands are the hooks. A hook leaves a trace in the cluster with the
// rights of its pod's service account, or fails in a way that it is told.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: hookapp [stay | end
  | mark NAME           create the ConfigMap NAME
  | annotate KEY VALUE  annotate the own pod
  | hold KEY TIME       annotate the own pod and wait
  | fail CODE TEXT ...  say TEXT and exit with CODE; the rest is left unread
  | sleep TIME COMMAND ...]`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	os.Exit(code)
}

// run carries out one command, "stay" if there is none, and returns its exit code.
func run(ctx context.Context, args []string) (int, error) {
	command := "stay"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "stay" && len(args) == 0:
		<-ctx.Done()
		return 0, nil
	case command == "end" && len(args) == 0:
		return 0, nil
	case command == "mark" && len(args) == 1:
		return status(mark(ctx, args[0]))
	case command == "annotate" && len(args) == 2:
		return status(annotate(ctx, args[0], args[1]))
	case command == "hold" && len(args) == 2:
		if err := annotate(ctx, args[0], "yes"); err != nil {
			return status(err)
		}
		return sleep(ctx, args[1], []string{"end"})
	case command == "fail" && len(args) >= 2:
		return fail(args[0], args[1])
	case command == "sleep" && len(args) >= 2:
		return sleep(ctx, args[0], args[1:])
	}
	return 2, fmt.Errorf("unknown command %q\n%s", command, usage)
}

func status(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

func fail(code, text string) (int, error) {
	fmt.Fprintln(os.Stderr, text)
	n, err := strconv.Atoi(code)
	return max(n, 1), err
}

func sleep(ctx context.Context, text string, then []string) (int, error) {
	wait, err := time.ParseDuration(text)
	if err != nil {
		return status(err)
	}
	select {
	case <-time.After(wait):
		return run(ctx, then)
	case <-ctx.Done():
		return status(ctx.Err())
	}
}

func mark(ctx context.Context, name string) error {
	object := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": name}, "data": map[string]any{"by": "hook"},
	}
	if err := send(ctx, http.MethodPost, "configmaps", "application/json", object); err != nil {
		return err
	}
	fmt.Println("marked " + name)
	return nil
}

func annotate(ctx context.Context, key, value string) error {
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	patch := map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: value}}}
	return send(ctx, http.MethodPatch, "pods/"+pod, "application/merge-patch+json", patch)
}

// account is where a pod finds what it needs to talk to the API server.
const account = "/var/run/secrets/kubernetes.io/serviceaccount"

// send makes one request to the API server, below the pod's own namespace.
func send(ctx context.Context, method, path, contentType string, object any) error {
	var files [3]string
	for i, name := range []string{"ca.crt", "namespace", "token"} {
		text, err := os.ReadFile(filepath.Join(account, name))
		if err != nil {
			return err
		}
		files[i] = strings.TrimSpace(string(text))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(files[0])) {
		return fmt.Errorf("%s/ca.crt holds no certificate", account)
	}
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	url := fmt.Sprintf("https://%s/api/v1/namespaces/%s/%s", server, files[1], path)
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+files[2])
	request.Header.Set("Content-Type", contentType)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	if response.StatusCode >= http.StatusMultipleChoices {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return nil
}

package testenv

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

const (
	// azuriteModule pins the server's version, relative to the repository.
	azuriteModule       = "testdata/stores/azurite"
	azuriteScript       = "node_modules/azurite/dist/src/blob/main.js"
	azuriteStartTimeout = 3 * time.Minute
	azuriteAccount      = "testbed"
	// AzureKeyVariable is the variable of AzuriteServer.CredentialsFile that has
	// the account's key: the value of the config key storageAccountKeyEnvVar.
	AzureKeyVariable = "AZURE_STORAGE_ACCOUNT_ACCESS_KEY"
)

// AzuriteOptions say how to start an Azure Blob server.
type AzuriteOptions struct {
	// Root is the server's own folder, made if it is missing: blobs, keys, log.
	// Starting on the same one again, with Key, serves what is there.
	Root string
	// Listen is host:port; the port may be 0. Default 127.0.0.1:0.
	Listen string
	// TLS makes it serve https, with a certificate for the host of Listen from a
	// CA of its own.
	TLS bool
	// OAuth makes it take tokens of Microsoft Entra, whose signature it doesn't
	// verify, beside the account's key. It needs TLS.
	OAuth bool
	// Key is the account's, in base64; made up if empty.
	Key string
	// PIDFile, if not empty, gets the process id, and the server outlives this
	// process. Else it ends with this process at the latest.
	PIDFile string
}

// AzuriteServer is an Azurite, Microsoft's Azure Blob server for tests, that runs.
type AzuriteServer struct {
	*serverProcess
	// URL is the account's endpoint, without a slash at its end.
	URL string
	// Account and Key are what requests are signed with.
	Account, Key string
	// CACert is the PEM of the CA to trust; nil for http.
	CACert []byte
	// CredentialsFile is an Azure credentials file with the key as
	// AzureKeyVariable.
	CredentialsFile string

	containers atomic.Int32 // that NewLocation made
}

// StartAzurite installs the server if that is needed, starts it and returns when
// it answers. ctx bounds only that. It needs node and npm.
func StartAzurite(ctx context.Context, o AzuriteOptions) (*AzuriteServer, error) {
	node, script, err := ensureAzurite(ctx)
	if err != nil {
		return nil, err
	}
	return startAt(o.Listen, func() (*AzuriteServer, error) { return startAzurite(ctx, node, script, o) })
}

func startAzurite(ctx context.Context, node, script string, o AzuriteOptions) (*AzuriteServer, error) {
	s, err := newAzuriteServer(&o)
	if err != nil {
		return nil, fmt.Errorf("set up Azurite in %s: %w", o.Root, err)
	}
	s.serverProcess, err = serverCommand{
		name:    "Azurite",
		program: node,
		args:    append([]string{script}, s.arguments(o)...),
		env:     []string{"AZURITE_ACCOUNTS=" + s.Account + ":" + s.Key},
		root:    o.Root,
		listen:  o.Listen,
		pidFile: o.PIDFile,
		ready:   azuriteStartTimeout,
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ensureAzurite returns the paths of node and of the server's program in the state
// folder. It installs what is missing there, and what has another lock file now.
func ensureAzurite(ctx context.Context) (node, script string, err error) {
	npm, err := exec.LookPath("npm")
	if err == nil {
		node, err = exec.LookPath("node")
	}
	if err != nil {
		return "", "", fmt.Errorf("start Azurite: %w; hint: install Node.js 20 or newer, with npm: Microsoft's Azure Blob server is a package of npm", err)
	}
	repository, err := RepositoryRoot()
	if err != nil {
		return "", "", err
	}
	state, err := StateFolder()
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(state, "azurite")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return "", "", err
	}
	defer unlock()
	return node, filepath.Join(dir, azuriteScript), installAzurite(ctx, npm, filepath.Join(repository, azuriteModule), dir)
}

// installAzurite installs exactly what the lock file names, and runs no scripts of
// the packages.
func installAzurite(ctx context.Context, npm, module, dir string) error {
	pins, err := os.ReadFile(filepath.Join(module, "package-lock.json"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(pins)
	want := hex.EncodeToString(sum[:])
	stamp := filepath.Join(dir, ".installed")
	if got, err := os.ReadFile(stamp); err == nil && string(got) == want {
		return nil
	}
	manifest, err := os.ReadFile(filepath.Join(module, "package.json"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), manifest, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package-lock.json"), pins, 0o644); err != nil {
		return err
	}
	install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("install Azurite: %w; hint: see what this says:\ncd %s && npm ci\n%s", err, dir, out)
	}
	return os.WriteFile(stamp, []byte(want), 0o644)
}

// newAzuriteServer lays out the folder and fills in the defaults.
func newAzuriteServer(o *AzuriteOptions) (*AzuriteServer, error) {
	var err error
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return nil, err
	}
	if o.Key == "" {
		o.Key = base64.StdEncoding.EncodeToString([]byte(rand.Text()))
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Listen, err = freePort(o.Listen); err != nil {
		return nil, err
	}
	s := &AzuriteServer{
		URL:             "http://" + o.Listen + "/" + azuriteAccount,
		Account:         azuriteAccount,
		Key:             o.Key,
		CredentialsFile: filepath.Join(o.Root, "credentials"),
	}
	if err := os.MkdirAll(filepath.Join(o.Root, "blobs"), 0o755); err != nil {
		return nil, err
	}
	if o.TLS {
		s.URL = "https://" + o.Listen + "/" + azuriteAccount
		if s.CACert, err = writeCertificates(o.Root, o.Listen); err != nil {
			return nil, err
		}
	}
	return s, os.WriteFile(s.CredentialsFile, []byte(AzureKeyVariable+"="+s.Key+"\n"), 0o600)
}

func (s *AzuriteServer) arguments(o AzuriteOptions) []string {
	host, port, _ := net.SplitHostPort(o.Listen) // freePort has split it before
	args := []string{
		"--silent", "--skipApiVersionCheck", "--disableTelemetry", "--disableProductStyleUrl",
		"--location", filepath.Join(o.Root, "blobs"), "--blobHost", host, "--blobPort", port,
	}
	if o.TLS {
		args = append(args, "--cert", filepath.Join(o.Root, certificateFile), "--key", filepath.Join(o.Root, keyFile))
	}
	if o.OAuth {
		args = append(args, "--oauth", "basic")
	}
	return args
}

// CreateContainer makes a container; one that is there is fine. Names have at
// least three characters.
func (s *AzuriteServer) CreateContainer(ctx context.Context, name string) error {
	client, err := s.container(name)
	if err == nil {
		_, err = client.Create(ctx, nil)
	}
	if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return fmt.Errorf("create container %q at %s: %w", name, s.URL, err)
	}
	return nil
}

// Location is the container as a storage location.
func (s *AzuriteServer) Location(containerName, prefix string) store.Location {
	return store.Location{
		Provider: "azure",
		Bucket:   containerName,
		Prefix:   prefix,
		Config: map[string]string{
			"storageAccount":          s.Account,
			"storageAccountURI":       s.URL,
			"storageAccountKeyEnvVar": AzureKeyVariable,
		},
		CACert:          s.CACert,
		CredentialsFile: s.CredentialsFile,
	}
}

func (s *AzuriteServer) container(name string) (*container.Client, error) {
	httpClient, err := trusting(s.CACert)
	if err != nil {
		return nil, err
	}
	key, err := container.NewSharedKeyCredential(s.Account, s.Key)
	if err != nil {
		return nil, err
	}
	return container.NewClientWithSharedKeyCredential(s.URL+"/"+name, key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: httpClient, Retry: policy.RetryOptions{MaxRetries: -1}},
	})
}

// NewLocation makes a container of the caller's own.
func (s *AzuriteServer) NewLocation(ctx context.Context, prefix string) (store.Location, error) {
	name := fmt.Sprintf("test-%d", s.containers.Add(1))
	return s.Location(name, prefix), s.CreateContainer(ctx, name)
}

// Azurite returns the server that the test binary shares, which ends with Main: the
// one with http, or the one with https, which takes tokens too.
func Azurite(tb testing.TB, tls bool) *AzuriteServer {
	tb.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if server, ok := running.azurite[tls]; ok {
		return server
	}
	dir, err := os.MkdirTemp("", "testenv-")
	if err != nil {
		tb.Fatal(err)
	}
	server, err := StartAzurite(tb.Context(), AzuriteOptions{Root: filepath.Join(dir, "azurite"), TLS: tls, OAuth: tls})
	if err != nil {
		tb.Fatalf("%v", err)
	}
	running.azurite[tls] = server
	running.cleanups = append(running.cleanups, server.Stop, func() error { return os.RemoveAll(dir) })
	return server
}

// Azure returns a container of the test's own at the shared server, as a storage
// location.
func Azure(tb testing.TB) store.Location {
	tb.Helper()
	l, err := Azurite(tb, false).NewLocation(tb.Context(), "")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

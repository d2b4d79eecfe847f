//go:build e2e

// Package tests proves the product on a real cluster, with real Jobs: the story
// of the sample application, the format of what it writes, a backup that Velero
// wrote, wrong input, and crashes. It runs on the local cluster, or with
// E2E_CLUSTER=kind or foreign (that of KUBECONFIG, see package provider) on
// another, and leaves nothing; KEEP=1 leaves the cluster up for a look, and
// E2E_NAME names it, so that several runs can stand side by side.
package tests

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	velero "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/client"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/storage"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/workspace"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// namespace is where the tests install the product.
const namespace = "velero"

// bucket is what the tests' default location names.
const bucket = "e2e"

// bed is the cluster, the S3 server and the built product that all tests share.
type bed struct {
	tree    workspace.Tree
	folder  string
	cluster *provider.Cluster
	// server is the S3 server on this machine, nil where it runs in the cluster.
	server *testenv.S3Server
	s3     storage.Server
	images map[string]string // by the names of package artifact

	config  *rest.Config
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	velero  *velero.Client

	installed sync.Once
	shop      sync.Mutex
}

// shared and unavailable are set by TestMain before any test runs, and not
// changed after: the bed, or why this machine can't have one.
var (
	shared      *bed
	unavailable error
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bed{}
	defer func() {
		if err := b.close(); err != nil {
			fmt.Fprintln(os.Stderr, "clean up:", err)
			code = 1
		}
	}()
	err := b.open(ctx)
	if errors.Is(err, provider.ErrNotHere) {
		unavailable = err
		return m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
		return 1
	}
	shared = b
	// Else an interrupt would only end the commands that tests have started.
	unwatch := context.AfterFunc(ctx, func() {
		fmt.Fprintln(os.Stderr, "interrupted:", b.close())
		os.Exit(1)
	})
	code = m.Run()
	unwatch()
	return code
}

// open builds the product, finds a cluster, and starts the S3 server.
func (b *bed) open(ctx context.Context) (err error) {
	if b.tree, err = workspace.Find(); err != nil {
		return err
	}
	name := cmp.Or(os.Getenv("E2E_NAME"), "e2e")
	b.folder = filepath.Join(b.tree.State, name)
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return err
	}
	options := provider.FromEnv(b.tree)
	options.Name, options.Out, options.CSI = name, os.Stderr, true
	// Only the local cluster shows its node's processes to the tests that look at
	// them, so it is the default also where there is another.
	options.Kind = cmp.Or(os.Getenv("E2E_CLUSTER"), provider.Local)
	if b.cluster, err = provider.Find(ctx, options); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	if err := b.load(ctx); err != nil {
		return err
	}
	return b.startStorage(ctx)
}

func (b *bed) startStorage(ctx context.Context) (err error) {
	if b.cluster.HostAddress == "" {
		b.s3, err = storage.StartInCluster(ctx, b.console(), storage.InClusterOptions{
			Bucket: bucket, StoreImage: b.images[artifact.StoreName], AppImage: b.images[artifact.AppName], Folder: b.folder,
		})
		return err
	}
	root := filepath.Join(b.folder, "storage")
	if err := os.RemoveAll(root); err != nil {
		return err
	}
	b.server, err = testenv.StartS3(ctx, testenv.StartOptions{Root: root, Listen: net.JoinHostPort(b.cluster.HostAddress, "0")})
	if err != nil {
		return err
	}
	b.s3 = storage.Server{
		Endpoint: b.server.URL, HostEndpoint: b.server.URL, Bucket: bucket,
		AccessKey: b.server.AccessKey, SecretKey: b.server.SecretKey,
	}
	return b.server.CreateBucket(ctx, bucket)
}

func (b *bed) connect() (err error) {
	if b.config, err = b.cluster.Config(); err != nil {
		return err
	}
	b.config.QPS, b.config.Burst = -1, -1
	if b.kube, err = kubernetes.NewForConfig(b.config); err != nil {
		return err
	}
	if b.dynamic, err = dynamic.NewForConfig(b.config); err != nil {
		return err
	}
	b.velero, err = velero.New(b.config)
	return err
}

// load builds everything and brings the images into the cluster.
func (b *bed) load(ctx context.Context) error {
	builds := []artifact.Build{artifact.Plugin(b.tree), artifact.Executor(b.tree), artifact.App(b.tree), artifact.Store(b.tree)}
	for _, build := range builds {
		if err := build.Run(ctx, b.tree); err != nil {
			return err
		}
	}
	makers := map[string]func(context.Context, workspace.Tree) (v1.Image, error){
		artifact.ExecutorName: artifact.ExecutorImage,
		artifact.AppName:      artifact.AppImage,
		fixtureHello:          artifact.HelloImage,
	}
	if b.cluster.HostAddress == "" {
		makers[artifact.StoreName] = artifact.StoreImage
	}
	b.images = map[string]string{}
	for name, make := range makers {
		img, err := make(ctx, b.tree)
		if err != nil {
			return err
		}
		if b.images[name], err = b.cluster.Load(ctx, provider.Image{Name: name, Image: img}); err != nil {
			return err
		}
	}
	return nil
}

// close ends what open started, also after an error.
func (b *bed) close() error {
	if b.cluster == nil || os.Getenv("KEEP") == "1" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var errs []error
	if b.cluster.Kind == provider.Foreign {
		c := b.console()
		errs = append(errs, storage.StopInCluster(ctx, c), c.Run(ctx, "kubectl", "velero", "uninstall", "--force", "--wait"))
	}
	errs = append(errs, b.cluster.Down(ctx))
	if b.server != nil {
		errs = append(errs, b.server.Stop())
	}
	return errors.Join(errs...)
}

// console runs commands without a test, such as in TestMain.
func (b *bed) console() *console.Console {
	return &console.Console{Dir: b.tree.Root, Env: b.tree.Env(b.cluster.Kubeconfig), Out: os.Stderr}
}

// session is the bed as one test uses it; commands go to the test's log.
type session struct {
	*bed
	t *testing.T
	c *console.Console
}

// start returns the shared bed for one test, which runs beside others, with the
// product installed. What several tests may have in the cluster has unique names;
// the sample application is lent with ownShop.
func start(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	s := alone(t)
	s.installed.Do(s.install)
	return s
}

// alone is start for a test that nothing runs beside, as it looks at the whole
// cluster, or removes the product. The testing package runs all of these first.
func alone(t *testing.T) *session {
	t.Helper()
	if unavailable != nil {
		t.Skip(unavailable)
	}
	c := shared.console()
	c.Out = t.Output()
	return &session{bed: shared, t: t, c: c}
}

// ownShop waits until no other test has the sample application, of which a cluster
// has one, and keeps it until the test ends.
func (s *session) ownShop() {
	s.shop.Lock()
	s.t.Cleanup(s.shop.Unlock)
}

// try runs a command, whatever its exit status.
func (s *session) try(command ...string) console.Result {
	s.t.Helper()
	result, err := s.c.Try(s.t.Context(), command...)
	if err != nil {
		s.t.Fatal(err)
	}
	return result
}

// must runs a command, which must succeed, and returns what it printed.
func (s *session) must(command ...string) string {
	s.t.Helper()
	result := s.try(command...)
	if result.Code != 0 {
		s.t.Fatalf("%s: exit status %d", console.Quote(command), result.Code)
	}
	return result.Stdout
}

// check fails the test on an error.
func (s *session) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// apply creates or changes objects given as YAML.
func (s *session) apply(yaml string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "objects.yaml")
	s.check(os.WriteFile(file, []byte(yaml), 0o600))
	s.must("kubectl", "apply", "-f", file)
}

// eventually polls until done says so, and fails the test after the time.
func (s *session) eventually(what string, within time.Duration, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(within); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// installArgs are the arguments of an install into the namespace.
func (s *session) installArgs(namespace string, more ...string) []string {
	s.t.Helper()
	credentials := filepath.Join(s.t.TempDir(), "credentials")
	s.check(s.s3.WriteCredentials(credentials))
	return append([]string{
		"kubectl", "velero", "install", "--namespace", namespace,
		"--image", s.images[artifact.ExecutorName], "--provider", "aws", "--bucket", bucket,
		"--secret-file", credentials, "--backup-location-config", s.s3.LocationConfig(),
		// The Jobs of many tests fit on a small node at once.
		"--velero-pod-cpu-request", "20m",
	}, more...)
}

// install makes sure that the product is installed, and that it is this build.
func (s *session) install() {
	s.t.Helper()
	s.must(s.installArgs(namespace, "--wait")...)
}

// unique returns an object name that no other test, or earlier run, has used.
func unique(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:6])
}

// after runs a command at the end of the test, whose context has ended then.
func (s *session) after(command ...string) {
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 2*time.Minute)
		defer cancel()
		if err := s.c.Run(ctx, command...); err != nil {
			s.t.Error(err)
		}
	})
}

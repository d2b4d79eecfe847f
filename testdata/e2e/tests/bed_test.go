//go:build e2e

// Package tests proves the product on a real cluster, with real Jobs: the story
// of the sample application, the format of what it writes, a backup that Velero
// wrote, wrong input, and crashes. It runs on the local cluster, or with
// E2E_CLUSTER=kind or foreign (that of KUBECONFIG, see package provider) on
// another, and leaves nothing. E2E_NAME, e2e by default, names the local cluster, so
// that several runs can stand side by side. KEEP=1 leaves it up for a look, and with
// it e2e-quiet, a second one that shares its storage: `cluster down` takes that one
// first. The flag -parallel says how many tests may keep the machine busy at once.
package tests

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
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
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/disaster"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/image"
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

// bed is a cluster, an S3 server and the built product, which tests share.
type bed struct {
	tree    workspace.Tree
	name    string // the cluster's, and its folder's
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

	loading  sync.Mutex
	programs map[string]string // references by the names of loadProgram
}

// shared, turns and unavailable are set by TestMain before any test runs, and not
// changed after: the bed of nearly all tests, as many turns as tests may work at
// once, and why this machine can't have a bed. quiet is the bed of tests that want
// nobody beside them, opened by the first of them.
var (
	shared      = &bed{}
	quiet       = &quietBed{}
	turns       chan struct{}
	unavailable error
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	quiet.run = ctx
	// After an interrupt two ask for it: the second waits for the first.
	closeAll := sync.OnceValue(closeBeds)
	defer func() {
		if err := closeAll(); err != nil {
			fmt.Fprintln(os.Stderr, "clean up:", err)
			code = 1
		}
	}()
	var err error
	if turns, err = makeTurns(); err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
		return 1
	}
	err = shared.start(ctx)
	if errors.Is(err, provider.ErrNotHere) {
		unavailable = err
		return m.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "set up:", err)
		return 1
	}
	// Else an interrupt would only end the commands that tests have started.
	unwatch := context.AfterFunc(ctx, func() {
		fmt.Fprintln(os.Stderr, "interrupted:", closeAll())
		os.Exit(1)
	})
	code = m.Run()
	unwatch()
	return code
}

// closeBeds ends both beds: the quiet one first, whose driver and pods write below
// the folder of the shared one's.
func closeBeds() error {
	return errors.Join(quiet.close(), shared.close())
}

// start builds the product while the cluster comes up, and makes the bed of them.
func (b *bed) start(ctx context.Context) (err error) {
	if b.tree, err = workspace.Find(); err != nil {
		return err
	}
	built := make(chan error, 1)
	go func() { built <- b.build(ctx) }()
	found := b.find(ctx, cmp.Or(os.Getenv("E2E_NAME"), "e2e"), "")
	if err := errors.Join(found, <-built); err != nil {
		return err
	}
	return b.fill(ctx)
}

// find finds a cluster, or starts one of this name, whose CSI driver has this folder
// or, if it is empty, one of its own.
func (b *bed) find(ctx context.Context, name, csiData string) (err error) {
	b.name, b.folder = name, filepath.Join(b.tree.State, name)
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return err
	}
	options := provider.FromEnv(b.tree)
	options.Name, options.Out, options.CSI, options.CSIData = name, os.Stderr, true, csiData
	// Only the local cluster shows its node's processes to the tests that look at
	// them, so it is the default also where there is another.
	options.Kind = cmp.Or(os.Getenv("E2E_CLUSTER"), provider.Local)
	b.cluster, err = provider.Find(ctx, options)
	return err
}

// build builds the product and what tests run beside it.
func (b *bed) build(ctx context.Context) error {
	builds := []artifact.Build{artifact.Plugin(b.tree), artifact.Executor(b.tree), artifact.App(b.tree), artifact.Store(b.tree)}
	for _, build := range builds {
		if err := build.Run(ctx, b.tree); err != nil {
			return err
		}
	}
	return nil
}

// fill brings what was built into the cluster, and starts the S3 server.
func (b *bed) fill(ctx context.Context) error {
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

// load brings the images into the cluster.
func (b *bed) load(ctx context.Context) error {
	makers := map[string]func(context.Context, workspace.Tree) (v1.Image, error){
		artifact.ExecutorName: artifact.ExecutorImage,
		artifact.AppName:      artifact.AppImage,
		fixtureHello:          artifact.HelloImage,
	}
	if b.cluster.HostAddress == "" {
		makers[artifact.StoreName] = artifact.StoreImage
	}
	b.images, b.programs = map[string]string{}, map[string]string{}
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

// loadProgram builds a program of this module, and brings it into the cluster as an
// image that has nothing else, at the path; once, whatever tests need it.
func (s *session) loadProgram(name, path string) (reference string) {
	s.t.Helper()
	s.loading.Lock()
	defer s.loading.Unlock()
	if reference = s.programs[name]; reference != "" {
		return reference
	}
	build := artifact.Build{Module: filepath.Join("testdata", "e2e"), Package: "./" + name, Output: filepath.Join(s.tree.Bin(), name)}
	s.check(build.Run(s.t.Context(), s.tree))
	made, err := image.Build(image.Options{Binary: build.Output, Path: path, Architecture: runtime.GOARCH})
	s.check(err)
	reference, err = s.cluster.Load(s.t.Context(), provider.Image{Name: "localhost/kubectl-velero/" + name + ":test", Image: made})
	s.check(err)
	s.programs[name] = reference
	return reference
}

// close ends what was started, also after an error.
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

// session is a bed as one test uses it; commands go to the test's log.
type session struct {
	*bed
	t    *testing.T
	c    *console.Console
	turn *turn
}

func (b *bed) session(t *testing.T) *session {
	t.Helper()
	if unavailable != nil {
		t.Skip(unavailable)
	}
	c := b.console()
	c.Out = t.Output()
	return &session{bed: b, t: t, c: c, turn: &turn{}}
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

// lose deletes a namespace, as a disaster does, and waits until it is gone.
func (s *session) lose(name string) {
	s.t.Helper()
	s.check(disaster.DeleteNamespace(s.t.Context(), s.c, name))
}

// patience is how long a test waits for what takes seconds on a machine that has
// nothing else to do. It only costs time when something has failed.
const patience = 4 * time.Minute

// eventually polls until done says so, and fails the test when its patience ends.
func (s *session) eventually(what string, done func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("not within %s: %s", patience, what)
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
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), patience)
		defer cancel()
		if err := s.c.Run(ctx, command...); err != nil {
			s.t.Error(err)
		}
	})
}

package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// namePrefix marks the clusters of test binaries; their names end in the
// binary's process id.
const namePrefix = "test-"

// otherSuffix marks the second cluster of a test binary.
const otherSuffix = "-b"

// clusterTool starts clusters. Once it is there, its own build command brings
// it up to date.
func clusterTool(ctx context.Context) (string, error) {
	return tool{name: "cluster", module: "testdata/cluster", pkg: "."}.ensure(ctx)
}

// APIServer returns an administrator's access to the API server of this test
// binary: etcd and kube-apiserver, with RBAC, without controllers and nodes.
// It is started at the first call and shared, so tests keep to namespaces of
// their own.
func APIServer(tb testing.TB) *rest.Config {
	tb.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", Kubeconfig(tb))
	if err != nil {
		tb.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1 // tests don't need to be throttled
	return config
}

// Kubeconfig returns the path of a kubeconfig for the same.
func Kubeconfig(tb testing.TB) string {
	tb.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.kubeconfig == "" {
		// Not the test's context: the cluster outlives the test.
		var err error
		if running.kubeconfig, err = running.startCluster(context.Background(), clusterName()); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	return running.kubeconfig
}

// OtherKubeconfig is Kubeconfig for a second API server of this test binary, in
// which nothing of the first one is. Its services have addresses that the first
// one's can't have.
func OtherKubeconfig(tb testing.TB) string {
	tb.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.other == "" {
		var err error
		if running.other, err = running.startCluster(context.Background(), clusterName()+otherSuffix, "--services", "10.250.0.0/16"); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	return running.other
}

// startCluster returns the path of the cluster's kubeconfig.
func (s *servers) startCluster(ctx context.Context, name string, args ...string) (string, error) {
	binary, err := clusterTool(ctx)
	if err != nil {
		return "", err
	}
	if err := sweep(); err != nil {
		return "", err
	}
	if err := clusterBuild(ctx, binary); err != nil {
		return "", err
	}
	// Remembered before it runs: a start that fails half-way is cleaned up too.
	s.clusters = append(s.clusters, name)
	out, err := runCluster(ctx, binary, append([]string{"up", "--mode", "api", "--name", name}, args...)...)
	return strings.TrimSpace(string(out)), err
}

// clusterBuild makes the binaries that the cluster consists of, once.
func clusterBuild(ctx context.Context, binary string) error {
	state, err := StateFolder()
	if err != nil {
		return err
	}
	unlock, err := lock(filepath.Join(state, "bin", ".cluster-build.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	_, err = runCluster(ctx, binary, "build", "--mode", "api")
	return err
}

func clusterDown(name string) error {
	binary, err := clusterTool(context.Background())
	if err != nil {
		return err
	}
	_, err = runCluster(context.Background(), binary, "down", "--name", name)
	return err
}

// runCluster runs a command of the cluster tool and returns what it prints.
func runCluster(ctx context.Context, binary string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, binary, args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", binary, strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// clusterName is that of the package under test and this process.
func clusterName() string {
	dir, _ := os.Getwd() // an empty name will do
	pkg := notInNames.ReplaceAllString(strings.ToLower(filepath.Base(dir)), "")
	return fmt.Sprintf("%s%.20s-%d", namePrefix, pkg, os.Getpid())
}

// sweep ends the clusters of test binaries that died without cleaning up.
func sweep() error {
	state, err := StateFolder()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(state, "clusters"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && abandoned(e.Name()) {
			errs = append(errs, clusterDown(e.Name()))
		}
	}
	return errors.Join(errs...)
}

func abandoned(cluster string) bool {
	if !strings.HasPrefix(cluster, namePrefix) {
		return false
	}
	cluster = strings.TrimSuffix(cluster, otherSuffix)
	pid, err := strconv.Atoi(cluster[strings.LastIndex(cluster, "-")+1:])
	if err != nil || pid <= 1 {
		return false
	}
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

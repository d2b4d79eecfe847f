//go:build cluster

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/cluster"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/state"
)

// bed runs the command, built once, on one cluster of its own.
type bed struct {
	t       *testing.T
	program string
	name    string
}

// programs is the folder that the command is built in.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "cluster-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(programs) // it is a temporary folder
	os.Exit(code)
}

var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programs, "cluster")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func newBed(t *testing.T, name string) bed {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	b := bed{t: t, program: path, name: fmt.Sprintf("test-%s-%d", name, os.Getpid())}
	t.Cleanup(func() {
		b.run("down", "--name", b.name)
		b.run("verify-clean", "--name", b.name)
	})
	return b
}

// try runs the command and returns what it wrote to stdout.
func (b bed) try(args ...string) (string, error) {
	cmd := exec.Command(b.program, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("cluster %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out)), err
}

func (b bed) run(args ...string) string {
	b.t.Helper()
	out, err := b.try(args...)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// up brings the cluster up, and logs how long that takes.
func (b bed) up(mode string, with ...string) {
	b.t.Helper()
	if mode == "full" && os.Geteuid() != 0 {
		b.t.Skip("a full cluster needs root")
	}
	b.run(append([]string{"build", "--mode", mode}, with...)...)
	started := time.Now()
	b.run(append([]string{"up", "--name", b.name, "--mode", mode}, with...)...)
	b.t.Logf("cluster %s up after %s", b.name, time.Since(started).Round(10*time.Millisecond))
}

func (b bed) kubectl(args ...string) string {
	b.t.Helper()
	return b.run(append([]string{"kubectl", "--name", b.name, "--"}, args...)...)
}

func (b bed) status() cluster.Status {
	b.t.Helper()
	var s cluster.Status
	if err := json.Unmarshal([]byte(b.run("status", "--name", b.name, "-o", "json")), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// crash kills components as a crash would.
func (b bed) crash(names ...string) {
	b.t.Helper()
	for _, c := range b.status().Components {
		for _, name := range names {
			if c.Name == name {
				if err := syscall.Kill(c.PID, syscall.SIGKILL); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if b.status().State == cluster.StateCrashed {
			return
		}
	}
	b.t.Fatalf("killed %v, but the cluster isn't crashed", names)
}

func TestModeAPI(t *testing.T) {
	t.Parallel()
	first, second := newBed(t, "e2e-api-a"), newBed(t, "e2e-api-b")
	first.run("build", "--mode", "api")
	var both errgroup.Group
	for _, b := range []bed{first, second} {
		both.Go(func() error {
			started := time.Now()
			_, err := b.try("up", "--name", b.name, "--mode", "api")
			t.Logf("%s up after %s", b.name, time.Since(started).Round(10*time.Millisecond))
			return err
		})
	}
	if err := both.Wait(); err != nil {
		t.Fatal(err)
	}
	first.kubectl("create", "configmap", "kept", "--from-literal=a=b")
	if out, err := second.try("kubectl", "--name", second.name, "--", "get", "configmap", "kept"); err == nil {
		t.Errorf("both clusters are one: %s", out)
	}

	if response, err := first.stranger().Get(first.etcdURL() + "/version"); err == nil {
		response.Body.Close()
		t.Errorf("etcd answers a stranger with %s", response.Status)
	} else if !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("ask etcd without a certificate: got %v", err)
	}

	pids := first.status().Components
	first.up("api")
	if again := first.status().Components; fmt.Sprint(again) != fmt.Sprint(pids) {
		t.Errorf("up of a healthy cluster restarted it: %v, before %v", again, pids)
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		first.crash(name)
		first.up("api")
		first.kubectl("get", "configmap", "kept")
	}
	if out, err := first.try("up", "--name", first.name, "--mode", "full"); err == nil || !strings.Contains(err.Error(), "in mode api") {
		t.Errorf("up in another mode: got %q, %v", out, err)
	}
}

// etcdURL reads from the cluster's record where etcd listens.
func (b bed) etcdURL() string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(b.status().Kubeconfig), "cluster.json"))
	if err != nil {
		b.t.Fatal(err)
	}
	var record struct{ Ports struct{ Etcd int } }
	if err := json.Unmarshal(text, &record); err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("https://127.0.0.1:%d", record.Ports.Etcd)
}

// restrictedJob says what a pod is allowed to do and what it reaches.
const restrictedJob = `
apiVersion: v1
kind: Namespace
metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: strict}
spec:
  template:
    spec:
      restartPolicy: Never
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: c
        image: testbed.local/busybox:1
        command: [sh, -ec, "grep -E '^(Seccomp|CapEff|NoNewPrivs):' /proc/self/status; nslookup kubernetes.default.svc.cluster.local"]
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`

const webServer = `
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: testbed.local/busybox:1
    command: [sh, -ec, "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
`

func (b bed) apply(manifest string) {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.kubectl("apply", "-f", file)
}

func TestModeFull(t *testing.T) {
	t.Parallel()
	b := newBed(t, "e2e-full")
	b.up("full")
	b.apply(restrictedJob)
	b.apply(webServer)

	t.Run("restricted job", func(t *testing.T) { testRestrictedJob(t, b) })
	t.Run("service", func(t *testing.T) { testService(t, b) })
	t.Run("pods reach the machine", func(t *testing.T) { testHostAddress(t, b) })
	t.Run("load image", func(t *testing.T) { testLoadImage(t, b) })
	t.Run("doors are shut", func(t *testing.T) { testDoors(t, b) })
	t.Run("crashes", func(t *testing.T) { testCrashes(t, b) })
}

func testRestrictedJob(t *testing.T, b bed) {
	b.t = t
	b.kubectl("-n", "strict", "wait", "--for=condition=complete", "job/job", "--timeout=60s")
	log := b.kubectl("-n", "strict", "logs", "job/job")
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Address: 10.97.0.1"} {
		if !strings.Contains(log, want) {
			t.Errorf("log of the job lacks %q:\n%s", want, log)
		}
	}
}

func testService(t *testing.T, b bed) {
	b.t = t
	b.kubectl("wait", "--for=condition=ready", "pod/web", "--timeout=60s")
	// kube-proxy learns of the endpoint a moment later.
	b.eventually("hello", "kubectl", "--name", b.name, "--", "exec", "web", "--", "wget", "-qO-", "http://shop.default.svc.cluster.local")
	if out, err := b.try("kubectl", "--name", b.name, "--", "exec", "web", "--", "nslookup", "example.com"); err == nil || !strings.Contains(err.Error(), "NXDOMAIN") {
		t.Errorf("lookup of a name outside: got %q, %v, want NXDOMAIN", out, err)
	}
}

// eventually runs the command until it answers want.
func (b bed) eventually(want string, args ...string) {
	b.t.Helper()
	var out string
	var err error
	for range 50 {
		if out, err = b.try(args...); err == nil && out == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("cluster %s: got %q, %v, want %q", strings.Join(args, " "), out, err, want)
}

func testHostAddress(t *testing.T, b bed) {
	b.t = t
	s := b.status()
	server := &http.Server{Addr: s.HostAddress + ":18111", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "machine")
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	t.Cleanup(func() {
		server.Shutdown(context.Background()) //nolint:errcheck // the test is over
		<-ended
	})
	b.eventually("machine", "kubectl", "--name", b.name, "--", "exec", "web", "--", "wget", "-qO-", "http://"+server.Addr)
	if out := b.run("exec", "--name", b.name, "--", "ls", s.KubeletRoot); !strings.Contains(out, "pods") {
		t.Errorf("%s on the node holds %q, want pods in it", s.KubeletRoot, out)
	}
}

func testLoadImage(t *testing.T, b bed) {
	b.t = t
	folder, err := state.Locate()
	if err != nil {
		t.Fatal(err)
	}
	image := folder.Image("busybox")
	b.run("load-image", "--name", b.name, image, "--as", "docker.io/library/other:2", "--as", "short:3")
	b.kubectl("run", "other", "--image=short:3", "--restart=Never", "--image-pull-policy=Never", "--command", "--", "true")
	b.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/other", "--timeout=30s")
	// Started again, the pod would only be asked for once more.
	b.kubectl("delete", "pod", "other")
}

func testDoors(t *testing.T, b bed) {
	b.t = t
	s := b.status()
	response, err := b.stranger().Get("https://" + s.NodeAddress + ":10250/pods")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("kubelet answers a stranger with %s, want 401", response.Status)
	}
	out, err := b.try("kubectl", "--name", b.name, "--", "get", "nodes", "--as=system:anonymous")
	if err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("anonymous user: got %q, %v, want forbidden", out, err)
	}
}

// stranger is a client that knows the servers but has no certificate.
func (b bed) stranger() *http.Client {
	b.t.Helper()
	pool := x509.NewCertPool()
	for _, name := range []string{"ca.crt", "etcd-ca.crt"} {
		ca, err := os.ReadFile(filepath.Join(filepath.Dir(b.status().Kubeconfig), "pki", name))
		if err != nil {
			b.t.Fatal(err)
		}
		pool.AppendCertsFromPEM(ca)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func testCrashes(t *testing.T, b bed) {
	b.t = t
	all := []string{"namespaces", "etcd", "kube-apiserver", "containerd", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"}
	for _, names := range [][]string{{"kube-apiserver"}, {"containerd", "kubelet"}, {"namespaces"}, all} {
		b.crash(names...)
		b.up("full")
		b.kubectl("wait", "--for=condition=ready", "pod/web", "--timeout=60s")
		b.eventually("hello", "kubectl", "--name", b.name, "--", "exec", "web", "--", "wget", "-qO-", "http://shop")
	}
	b.crash(all...)
}

//go:build e2e

package tests

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

const maxImageBytes = 80 << 20

// TestImage wants a small image from scratch for an unprivileged user.
func TestImage(t *testing.T) {
	s := start(t)
	img, err := artifact.ExecutorImage(t.Context(), s.tree)
	s.check(err)
	config, err := img.ConfigFile()
	s.check(err)
	if config.Config.User != "65532" || strings.Join(config.Config.Entrypoint, " ") != "/executor" {
		t.Errorf("config %+v", config.Config)
	}
	layers, err := img.Layers()
	s.check(err)
	if len(layers) != 1 {
		t.Errorf("%d layers: not from scratch", len(layers))
	}
	var size int64
	for _, layer := range layers {
		unpacked, err := layer.Uncompressed()
		s.check(err)
		n, err := io.Copy(io.Discard, unpacked)
		s.check(err)
		s.check(unpacked.Close())
		size += n
	}
	t.Logf("unpacked %.1f MB", float64(size)/1e6)
	if size >= maxImageBytes {
		t.Errorf("image has %d bytes unpacked, want less than %d", size, maxImageBytes)
	}
	info, err := buildinfo.ReadFile(artifact.Executor(s.tree).Output)
	s.check(err)
	if !slices.ContainsFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "golang.org/x/crypto/x509roots/fallback" }) {
		t.Error("no CA roots are linked in, and an image from scratch has no others")
	}
	binary, err := elf.Open(artifact.Executor(s.tree).Output)
	s.check(err)
	defer func() { _ = binary.Close() }() // only read
	if libraries, err := binary.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("needs libraries %q, %v", libraries, err)
	}
}

// TestRestricted looks at the pod of a backup as the kubelet runs it.
func TestRestricted(t *testing.T) {
	s := start(t)
	enforced, err := s.kube.CoreV1().Namespaces().Get(t.Context(), namespace, metav1.GetOptions{})
	s.check(err)
	if got := enforced.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("namespace enforces %q", got)
	}
	name := unique("user")
	if s.cluster.Kind != provider.Local {
		s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", "default", "--wait")
		s.checkPod(name)
		return
	}
	g := s.newGate()
	location := s.gateLocation(g)
	reached, open := g.hold(name + ".tar.gz")
	s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", "default", "--storage-location", location)
	s.waitFor(reached)
	s.checkPod(name)
	s.checkProcess(name)
	open()
	s.ended(name)
	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
}

func (s *session) checkPod(backup string) {
	s.t.Helper()
	pods, err := s.kube.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{LabelSelector: "kubectl-velero.io/name=" + backup})
	s.check(err)
	if len(pods.Items) != 1 {
		s.t.Fatalf("%d pods of backup %q", len(pods.Items), backup)
	}
	container := pods.Items[0].Spec.Containers[0]
	security := container.SecurityContext
	if security == nil || security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
		s.t.Errorf("security context %+v", security)
	}
	if security != nil && security.RunAsUser != nil {
		s.t.Error("the user is fixed; it is to be left to the image")
	}
	if status := pods.Items[0].Status.ContainerStatuses; len(status) == 1 && status[0].User != nil {
		if user := status[0].User.Linux; user == nil || user.UID != 65532 {
			s.t.Errorf("the kubelet says user %+v", user)
		}
	}
}

// checkProcess looks at the executor as the node's kernel has it.
func (s *session) checkProcess(backup string) {
	s.t.Helper()
	folder := filepath.Join("/proc", strconv.Itoa(s.process("backup", backup)))
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	s.check(err)
	for _, want := range []string{
		"\nUid:\t65532\t65532\t65532\t65532\n",
		"\nCapEff:\t0000000000000000\n", "\nCapBnd:\t0000000000000000\n",
		"\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n",
	} {
		if !strings.Contains(string(status), want) {
			s.t.Errorf("process status has no %q:\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile(filepath.Join(folder, "mountinfo"))
	s.check(err)
	if !regexp.MustCompile(`(?m)^\d+ \d+ \S+ \S+ / ro[, ]`).Match(mounts) {
		s.t.Errorf("the root isn't mounted read-only:\n%s", mounts)
	}
}

// TestImageThatCannotBePulled wants the cause to be told within 30 s of the kubelet's
// finding it, and an end; the time to start covers what a busy machine takes until
// then.
func TestImageThatCannotBePulled(t *testing.T) {
	s := patient(t)
	const other = "velero-no-image"
	args := s.installArgs(other)
	args[slices.Index(args, "--image")+1] = noImage
	s.after("kubectl", "velero", "uninstall", "--namespace", other, "--force", "--wait")
	s.must(args...)
	out := &timed{}
	s.c.Out = io.MultiWriter(s.c.Out, out)
	result := s.try("kubectl", "velero", "--namespace", other, "backup", "create", "x",
		"--include-namespaces", "default", "--wait", "--start-timeout", "2m")
	if result.Code != 3 {
		t.Errorf("exit status %d, want 3", result.Code)
	}
	found := s.pullFailed(other)
	if told := out.first(noImage); told.IsZero() || told.Sub(found) > 30*time.Second {
		t.Errorf("the kubelet found the cause at %s, it was told at %s", found, told)
	}
}

// noImage is an image that nobody has.
const noImage = "localhost/no-such-image:none"

// pullFailed returns when the kubelet of a namespace's only pod first failed to pull.
func (s *session) pullFailed(namespace string) time.Time {
	s.t.Helper()
	events, err := s.kube.CoreV1().Events(namespace).List(s.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod,reason=Failed"})
	s.check(err)
	if len(events.Items) == 0 {
		s.t.Fatal("there is no event of a pod whose image can't be pulled")
	}
	first := events.Items[0].FirstTimestamp.Time
	for _, e := range events.Items {
		if e.FirstTimestamp.Time.Before(first) {
			first = e.FirstTimestamp.Time
		}
	}
	return first
}

// timed notes when what was written came.
type timed struct {
	mu      sync.Mutex
	command bool // has been printed, before its output
	written []byte
	at      []time.Time // of each byte
}

func (w *timed) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.command {
		w.command = true
		return len(p), nil
	}
	w.written = append(w.written, p...)
	for range p {
		w.at = append(w.at, time.Now())
	}
	return len(p), nil
}

// first returns when the text came first; zero when it never did.
func (w *timed) first(text string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	index := bytes.Index(w.written, []byte(text))
	if index < 0 {
		return time.Time{}
	}
	return w.at[index]
}

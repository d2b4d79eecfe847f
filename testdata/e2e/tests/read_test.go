//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

const readObjects = `apiVersion: v1
kind: Namespace
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: %[1]s}
data: {colour: %[2]s}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: %[1]s}
stringData: {password: %[3]s}
`

// TestReadBack reads backups with every command that does: what is in them, one
// object, all of it, whether it is sound, and how it differs.
func TestReadBack(t *testing.T) {
	s := start(t)
	place := unique("read")
	s.apply(fmt.Sprintf(readObjects, place, "red", "planted-before"))
	s.after("kubectl", "delete", "namespace", place, "--wait=false")
	first, second := unique("first"), unique("second")
	s.backup(first, place)
	s.apply(fmt.Sprintf(readObjects, place, "blue", "planted-after"))
	s.backup(second, place)

	t.Run("contents and cat", func(t *testing.T) { readContents(s.sub(t), first, place) })
	t.Run("download", func(t *testing.T) { readDownload(s.sub(t), first, place) })
	t.Run("diff", func(t *testing.T) { readDiff(s.sub(t), first, second, place) })
	t.Run("verify", func(t *testing.T) { readVerify(s.sub(t), first) })
	t.Run("nothing is left", func(t *testing.T) {
		s := s.sub(t)
		of := metav1.ListOptions{LabelSelector: fmt.Sprintf("kubectl-velero.io/operation=read,kubectl-velero.io/name in (%s, %s)", first, second)}
		s.eventually("the reader Jobs are gone", func() bool {
			jobs, err := s.kube.BatchV1().Jobs(namespace).List(t.Context(), of)
			s.check(err)
			return len(jobs.Items) == 0
		})
	})
}

func (s *session) backup(name, place string) {
	s.t.Helper()
	s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", place, "--wait")
}

// exits runs a command that must end with this exit status.
func (s *session) exits(code int, command ...string) console.Result {
	s.t.Helper()
	result := s.try(command...)
	if result.Code != code {
		s.t.Fatalf("%s: exit status %d, want %d", console.Quote(command), result.Code, code)
	}
	return result
}

func readContents(s *session, name, place string) {
	out := s.must("kubectl", "velero", "backup", "contents", name)
	for _, want := range []string{"Namespace", "settings", "key"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("contents lack %s:\n%s", want, out)
		}
	}
	if out := s.must("kubectl", "velero", "backup", "contents", name, place+"/cm", "-o", "name"); !strings.Contains(out, "configmap/settings\n") || strings.Contains(out, "secret") {
		s.t.Errorf("ConfigMaps: %s", out)
	}
	if out := s.must("kubectl", "velero", "backup", "cat", name, place+"/cm/settings"); !strings.Contains(out, "colour: red\n") {
		s.t.Errorf("cat: %s", out)
	}
	missing := s.exits(1, "kubectl", "velero", "backup", "cat", name, place+"/cm/setings")
	if !strings.Contains(missing.Stderr, place+"/configmap/settings") {
		s.t.Errorf("no hint at what is like it: %s", missing.Stderr)
	}
	s.exits(1, "kubectl", "velero", "backup", "contents", "none-such")
}

func readDownload(s *session, name, place string) {
	key := "backups/" + name + "/" + name + ".tar.gz"
	whole := s.raw(key)
	file := filepath.Join(s.t.TempDir(), "whole.tar.gz")
	s.must("kubectl", "velero", "backup", "download", name, "-o", file)
	s.sameFile(file, whole)
	s.exits(1, "kubectl", "velero", "backup", "download", name, "-o", file)

	// The rest of a transfer that broke off half-way.
	info, err := s.open().Stat(s.t.Context(), key)
	s.check(err)
	rest := filepath.Join(s.t.TempDir(), "rest.tar.gz")
	half := len(whole) / 2
	s.check(os.WriteFile(rest+".partial", whole[:half], 0o600))
	note, err := json.Marshal(map[string]any{"Size": len(whole), "ETag": `"` + strings.Trim(info.ETag, `"`) + `"`})
	s.check(err)
	s.check(os.WriteFile(rest+".partial.json", note, 0o600))
	result := s.exits(0, "kubectl", "velero", "backup", "download", name, "-o", rest)
	if !strings.Contains(result.Stderr, fmt.Sprintf("Going on at byte %d", half)) {
		s.t.Errorf("it began anew: %s", result.Stderr)
	}
	s.sameFile(rest, whole)

	for _, command := range []string{"contents", "verify"} {
		s.must("kubectl", "velero", "backup", command, "--file", file, "--kubeconfig", "none")
	}
	if out := s.must("kubectl", "velero", "backup", "cat", "--file", file, place+"/secret/key", "--kubeconfig", "none"); !strings.Contains(out, "password: ") {
		s.t.Errorf("cat of a file: %s", out)
	}
}

// raw reads one object as it is.
func (s *session) raw(key string) []byte {
	s.t.Helper()
	body, err := s.open().Get(s.t.Context(), key)
	s.check(err)
	defer func() { _ = body.Close() }() // only read
	content, err := io.ReadAll(body)
	s.check(err)
	return content
}

func (s *session) sameFile(path string, want []byte) {
	s.t.Helper()
	got, err := os.ReadFile(path)
	s.check(err)
	if !bytes.Equal(got, want) {
		s.t.Errorf("%s has %d bytes and isn't the object of %d", path, len(got), len(want))
	}
	if left, err := filepath.Glob(path + ".*"); err != nil || len(left) > 0 {
		s.t.Errorf("left: %q, %v", left, err)
	}
}

func readDiff(s *session, first, second, place string) {
	result := s.exits(1, "kubectl", "velero", "backup", "diff", first, second)
	for _, want := range []string{"-  colour: red\n", "+  colour: blue\n", "changed: " + place + "/secrets/key", "*** (after)"} {
		if !strings.Contains(result.Stdout, want) {
			s.t.Errorf("diff lacks %q:\n%s", want, result.Stdout)
		}
	}
	s.exits(0, "kubectl", "velero", "backup", "diff", first, first)
	s.exits(2, "kubectl", "velero", "backup", "diff", first, "none-such")

	// Events come and go; the rest of the namespace is what it was.
	live := s.try("kubectl", "velero", "backup", "diff", second, "--live")
	if strings.Contains(live.Stdout, "configmaps/settings") || live.Code > 1 {
		s.t.Errorf("exit status %d:\n%s", live.Code, live.Stdout)
	}
	s.must("kubectl", "-n", place, "patch", "configmap", "settings", "-p", `{"data":{"colour":"green"}}`)
	s.must("kubectl", "-n", place, "create", "configmap", "fresh")
	live = s.exits(1, "kubectl", "velero", "backup", "diff", second, "--live")
	for _, want := range []string{"-  colour: blue\n", "+  colour: green\n", "added: " + place + "/configmaps/fresh"} {
		if !strings.Contains(live.Stdout, want) {
			s.t.Errorf("diff --live lacks %q:\n%s", want, live.Stdout)
		}
	}
}

// readVerify verifies a backup, and then with each of its objects changed.
func readVerify(s *session, name string) {
	if out := s.must("kubectl", "velero", "backup", "verify", name); !strings.Contains(out, `Backup "`+name+`" is sound: `) {
		s.t.Errorf("verify: %s", out)
	}
	for _, suffix := range []string{".tar.gz", "-resource-list.json.gz"} {
		key := "backups/" + name + "/" + name + suffix
		whole := s.raw(key)
		changed := bytes.Clone(whole)
		changed[len(changed)/2] ^= 1
		s.check(s.open().Put(s.t.Context(), key, bytes.NewReader(changed)))
		result := s.exits(3, "kubectl", "velero", "backup", "verify", name)
		if !strings.Contains(result.Stdout, "broken: "+name+suffix+": ") {
			s.t.Errorf("not told of %s:\n%s", suffix, result.Stdout)
		}
		s.check(s.open().Put(s.t.Context(), key, bytes.NewReader(whole)))
	}
	s.check(s.open().Delete(s.t.Context(), "backups/"+name+"/"+name+"-volumeinfo.json.gz"))
	if result := s.exits(3, "kubectl", "velero", "backup", "verify", name, "-o", "json"); !strings.Contains(result.Stdout, "it is missing") {
		s.t.Errorf("the missing object isn't told:\n%s", result.Stdout)
	}
}

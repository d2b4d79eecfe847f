//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/provider"
)

const noSecrets = `apiVersion: v1
kind: ResourceQuota
metadata: {name: none, namespace: %[1]s}
spec: {hard: {count/secrets: "0"}}
`

// TestLookBeforeYouLeap changes a namespace after its backup, looks at what a
// restore would do and at what it would change, and then restores.
func TestLookBeforeYouLeap(t *testing.T) {
	s := start(t)
	place, name := unique("look"), unique("look")
	s.apply(fmt.Sprintf(readObjects, place, "red", "planted-before"))
	s.after("kubectl", "delete", "namespace", place, "--wait=false")
	s.backup(name, place)
	s.apply(fmt.Sprintf(readObjects, place, "blue", "planted-after"))
	s.must("kubectl", "-n", place, "delete", "secret", "key")
	s.apply(fmt.Sprintf(noSecrets, place))

	lookDryRun(s, name, place)
	lookDiff(s, name, place)
	lookElsewhere(s, name, place)

	s.must("kubectl", "-n", place, "delete", "resourcequota", "none")
	s.must("kubectl", "velero", "restore", "create", "--from-backup", name, "--existing-resource-policy", "update", "--dry-run=server")
	s.must("kubectl", "velero", "restore", "create", "--from-backup", name, "--existing-resource-policy", "update", "--wait")
	result := s.exits(0, "kubectl", "velero", "restore", "diff", "--from-backup", name)
	if result.Stdout != "" || !strings.Contains(result.Stderr, ": 0 added, 0 changed, ") {
		t.Errorf("differences after the restore:\n%s%s", result.Stdout, result.Stderr)
	}
	s.noPreviewLeft(name)
}

// lookDryRun looks at the table and the JSON of --dry-run=server.
func lookDryRun(s *session, name, place string) {
	dryRun := []string{"kubectl", "velero", "restore", "create", "--from-backup", name, "--existing-resource-policy", "update", "--dry-run=server"}
	result := s.exits(1, dryRun...)
	s.hasRows(result.Stdout, "update ConfigMap "+place+" settings", "refuse Secret "+place+" key")
	for _, want := range []string{"1 to update", "1 that would be refused", "error: this restore would not complete: 1 object would be refused"} {
		if !strings.Contains(result.Stderr, want) {
			s.t.Errorf("not told: %q\n%s", want, result.Stderr)
		}
	}
	var previewed struct {
		Backup string
		Items  []struct{ Kind, Namespace, Name, Action, Reason string }
	}
	result = s.exits(1, append(dryRun, "-o", "json")...)
	s.check(json.Unmarshal([]byte(result.Stdout), &previewed))
	found := false
	for _, item := range previewed.Items {
		found = found || item.Kind == "Secret" && item.Namespace == place && item.Action == "refuse" && strings.Contains(item.Reason, "exceeded quota")
	}
	if !found || previewed.Backup != name {
		s.t.Errorf("the Secret is not refused: %s", result.Stdout)
	}
	if colour := s.must("kubectl", "-n", place, "get", "configmap", "settings", "-o", "jsonpath={.data.colour}"); colour != "blue" {
		s.t.Errorf("the ConfigMap was changed: %s", colour)
	}
	s.exits(2, "kubectl", "velero", "restore", "create", "--from-backup", "none-such", "--dry-run=server")
}

// lookDiff looks at the differences, also through another program.
func lookDiff(s *session, name, place string) {
	diff := []string{"kubectl", "velero", "restore", "diff", "--from-backup", name}
	result := s.exits(1, diff...)
	for _, want := range []string{"--- live " + place + "/configmaps/settings\n", "-  colour: blue\n", "+  colour: red\n", "+++ restored " + place + "/secrets/key\n", "+  password: '***'\n"} {
		if !strings.Contains(result.Stdout, want) {
			s.t.Errorf("the differences lack %q:\n%s", want, result.Stdout)
		}
	}
	result = s.exits(1, append(diff, "--include-objects", place+"/cm/settings")...)
	if !strings.Contains(result.Stdout, "-  colour: blue\n") || strings.Contains(result.Stdout, "secrets/key") {
		s.t.Errorf("one object:\n%s", result.Stdout)
	}
	program := filepath.Join(s.t.TempDir(), "show")
	s.check(os.WriteFile(program, []byte("#!/bin/sh\nls \"$1\"; ls \"$2\"\nexit 1\n"), 0o700))
	result = s.exits(1, append([]string{"env", "KUBECTL_EXTERNAL_DIFF=" + program}, diff...)...)
	if want := place + ".configmaps.settings\n" + place + ".configmaps.settings\n" + place + ".secrets.key\n"; !strings.Contains(result.Stdout, want) {
		s.t.Errorf("the program was not given %q:\n%s", want, result.Stdout)
	}
}

// lookElsewhere looks at a restore into a namespace that isn't there.
func lookElsewhere(s *session, name, place string) {
	out := s.must("kubectl", "velero", "restore", "create", "--from-backup", name, "--namespace-mappings", place+":"+place+"-copy", "--dry-run=server")
	s.hasRows(out, "create Namespace "+place+"-copy", "unchecked ConfigMap "+place+"-copy settings")
	s.exits(1, "kubectl", "get", "namespace", place+"-copy")
}

// hasRows wants rows that begin with these words, whatever the columns' width.
func (s *session) hasRows(table string, rows ...string) {
	s.t.Helper()
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	for _, row := range rows {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, row) }) {
			s.t.Errorf("the table lacks %q:\n%s", row, table)
		}
	}
}

// previewsOf selects what previews of restores from a backup make.
func previewsOf(backup string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: "kubectl-velero.io/operation=preview,kubectl-velero.io/name=" + backup}
}

// noPreviewLeft waits until nothing of the backup's previews is in the cluster.
func (s *session) noPreviewLeft(backup string) {
	s.t.Helper()
	of := previewsOf(backup)
	bindings, err := s.kube.RbacV1().ClusterRoleBindings().List(s.t.Context(), of)
	s.check(err)
	if len(bindings.Items) > 0 {
		s.t.Errorf("rights are left: %v", bindings.Items)
	}
	s.eventually("the Jobs and pods of previews are gone", func() bool {
		jobs, err := s.kube.BatchV1().Jobs(namespace).List(s.t.Context(), of)
		s.check(err)
		pods, err := s.kube.CoreV1().Pods(namespace).List(s.t.Context(), of)
		s.check(err)
		return len(jobs.Items)+len(pods.Items) == 0
	})
}

// TestInterruptedLook presses ctrl-C, and then kills the plugin, while the Job
// reads the archive.
func TestInterruptedLook(t *testing.T) {
	s := start(t)
	if s.cluster.Kind != provider.Local {
		t.Skip("needs a server that pods reach on this machine: the local cluster")
	}
	g := s.newGate()
	location, name := s.gateLocation(g), unique("look")
	s.must("kubectl", "velero", "backup", "create", name, "--include-namespaces", "default", "--storage-location", location, "--wait")

	if code, stderr := s.lookUntil(g, name, syscall.SIGINT); code != 4 || !strings.Contains(stderr, "error: interrupted; the cluster is as it was") {
		t.Errorf("exit status %d, want 4: %s", code, stderr)
	}
	s.noPreviewLeft(name)

	// The Job notices, gives up its rights and ends.
	s.lookUntil(g, name, syscall.SIGKILL)
	of := previewsOf(name)
	s.eventually("the Job has ended and its rights are gone", func() bool {
		jobs, err := s.kube.BatchV1().Jobs(namespace).List(t.Context(), of)
		s.check(err)
		bindings, err := s.kube.RbacV1().ClusterRoleBindings().List(t.Context(), of)
		s.check(err)
		return len(jobs.Items) == 1 && launch.Finished(&jobs.Items[0]) && len(bindings.Items) == 0
	})
	s.must("kubectl", "-n", namespace, "delete", "jobs", "-l", of.LabelSelector)
	s.noPreviewLeft(name)
	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
}

// lookUntil sends the plugin a signal as soon as the Job reads the archive, and
// returns its exit status.
func (s *session) lookUntil(g *gate, backup string, signal syscall.Signal) (code int, stderr string) {
	s.t.Helper()
	reached, open := g.holdReads(backup + ".tar.gz")
	defer open()
	cmd := exec.CommandContext(s.t.Context(), s.tree.Path("bin", "kubectl-velero"), "restore", "diff", "--from-backup", backup)
	cmd.Env = s.c.Env
	var out bytes.Buffer
	cmd.Stderr = &out
	s.check(cmd.Start())
	s.waitFor(reached)
	s.check(cmd.Process.Signal(signal))
	_ = cmd.Wait() // its exit status is looked at
	return cmd.ProcessState.ExitCode(), out.String()
}

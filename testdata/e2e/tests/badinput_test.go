//go:build e2e

package tests

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/artifact"
	"github.com/kubectl-velero/kubectl-velero/testdata/e2e/console"
)

// TestRefused is input that the plugin refuses before it creates anything.
func TestRefused(t *testing.T) {
	s := start(t)
	location, taken := unique("taken"), unique("taken")
	s.location(location, otherPrefix)
	s.after("kubectl", "-n", namespace, "delete", "backupstoragelocation.velero.io/"+location)
	// Else a sync could bring back the record that is deleted below.
	s.must("kubectl", "-n", namespace, "patch", "backupstoragelocation.velero.io/"+location, "--type=merge", "-p", `{"spec":{"backupSyncPeriod":"0s"}}`)
	s.must("kubectl", "velero", "backup", "create", taken, "--storage-location", location, "--include-namespaces", "default", "--wait")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{
			name: "namespace that doesn't exist",
			args: []string{"--include-namespaces", "nope"},
			want: "error: namespace \"nope\" does not exist\nhint: `kubectl get namespaces` lists those that do\n",
		},
		{
			name: "unknown location",
			args: []string{"--include-namespaces", "default", "--storage-location", "nowhere"},
			want: "error: storage location \"nowhere\" does not exist\nhint: there ",
		},
		{
			name: "invalid selector",
			args: []string{"--selector", "a in"},
			want: "error: invalid argument \"a in\" for \"-l, --selector\" flag: unable to parse requirement: found '' expected: '('\n" +
				"hint: for example app=web,tier!=cache or 'app in (web, db)'\n",
		},
		{
			name: "ttl that is no duration",
			args: []string{"--ttl", "tomorrow"},
			want: "error: invalid argument \"tomorrow\" for \"--ttl\" flag: \"tomorrow\" is not a duration\n" +
				"hint: units are h, m and s, as in 720h (30 days) or 1h30m\n",
		},
		{
			name: "negative ttl",
			args: []string{"--ttl=-1h"},
			want: "error: invalid argument \"-1h\" for \"--ttl\" flag: \"-1h\" is negative\n" +
				"hint: durations count from now on, as in 720h\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := s.sub(t)
			name := unique("refused")
			s.refused(append([]string{"kubectl", "velero", "backup", "create", name}, tt.args...), tt.want)
			if got := s.must("kubectl", "-n", namespace, "get", "backups.velero.io,jobs", "-o", "name"); strings.Contains(got, name) {
				t.Errorf("created: %s", got)
			}
		})
	}
	t.Run("name taken in the cluster", func(t *testing.T) {
		s.sub(t).refused([]string{"kubectl", "velero", "backup", "create", taken, "--include-namespaces", "default"},
			fmt.Sprintf("error: backup %[1]q exists already (Completed)\n"+
				"hint: choose another name, or delete it: kubectl velero backup delete %[1]s\n", taken))
	})
	t.Run("name taken in the bucket", func(t *testing.T) {
		s := s.sub(t)
		// As in a cluster that has lost its records.
		s.must("kubectl", "-n", namespace, "delete", "backup.velero.io/"+taken)
		result := s.try("kubectl", "velero", "backup", "create", taken, "--storage-location", location, "--include-namespaces", "default", "--wait")
		s.failed(result, fmt.Sprintf("  storage location %q: backup %q already exists there\n"+
			"  hint: choose another name, or delete that backup first\n", location, taken))
		if keys := s.keys(otherPrefix + "/backups/" + taken + "/velero-backup.json"); len(keys) != 1 {
			t.Error("the earlier backup's marker is gone")
		}
	})
}

// TestUnreachable is a cluster that isn't there, or doesn't let us in.
func TestUnreachable(t *testing.T) {
	s := start(t)
	command := []string{"kubectl-velero", "backup", "create", "x", "--include-namespaces", "default"}

	t.Run("no kubeconfig", func(t *testing.T) {
		s := s.sub(t)
		s.c.Env = append(s.c.Env, "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
		s.refused(command, "error: no cluster: no kubeconfig was found\nhint: set KUBECONFIG or --kubeconfig\n")
	})
	t.Run("no cluster", func(t *testing.T) {
		s := s.sub(t)
		address := closedPort(t)
		config, err := clientcmd.LoadFromFile(s.cluster.Kubeconfig)
		s.check(err)
		config.Clusters[config.Contexts[config.CurrentContext].Cluster].Server = "https://" + address
		file := filepath.Join(t.TempDir(), "kubeconfig")
		s.check(clientcmd.WriteToFile(*config, file))
		s.c.Env = append(s.c.Env, "KUBECONFIG="+file)
		s.refused(command, "error: no cluster: "+address+": connection refused\n"+
			"hint: check --kubeconfig and --context, and that `kubectl version` answers\n")
	})
	t.Run("no permission", func(t *testing.T) {
		s := s.sub(t)
		s.refused(append(command, "--as", "nobody"), "error: no permission in namespace \"velero\" to create backups.velero.io, "+
			"create jobs.batch, get podtemplates, list backupstoragelocations.velero.io, list volumesnapshotlocations.velero.io\n"+
			"hint: ask for it, or use credentials that have it (--context, --as)\n")
	})
}

// TestStorage is what only the Job can find out about a location.
func TestStorage(t *testing.T) {
	s := start(t)
	credentials := filepath.Join(t.TempDir(), "wrong")
	s.check(os.WriteFile(credentials, []byte("[default]\naws_access_key_id = wrong\naws_secret_access_key = wrong\n"), 0o600))
	s.must("kubectl", "-n", namespace, "create", "secret", "generic", "wrong-keys", "--from-file=cloud="+credentials)
	s.after("kubectl", "-n", namespace, "delete", "secret/wrong-keys")
	// Nobody listens on port 1 of the address that pods ask.
	down := strings.Replace(s.s3.Endpoint, ":"+portOf(s.s3.Endpoint), ":1", 1)
	tests := []struct {
		name, spec, want string
	}{
		{
			name: "no-bucket",
			spec: fmt.Sprintf(`objectStorage: {bucket: nowhere}, config: {region: us-east-1, s3ForcePathStyle: "true", s3Url: %q}`, s.s3.Endpoint),
			want: fmt.Sprintf("in bucket \"nowhere\" at %s: bucket does not exist: NoSuchBucket: The specified bucket does not exist.\n"+
				"  hint: create the bucket \"nowhere\", or correct spec.objectStorage.bucket of the location\n", s.s3.Endpoint),
		},
		{
			name: "wrong-keys",
			spec: fmt.Sprintf(`objectStorage: {bucket: %s}, credential: {name: wrong-keys, key: cloud}, config: {region: us-east-1, s3ForcePathStyle: "true", s3Url: %q}`, bucket, s.s3.Endpoint),
			want: fmt.Sprintf("in bucket %q at %s: access denied: XAdminUserNotFound: No user exists with the provided access key ID.\n"+
				"  hint: the store doesn't know this access key: check the credentials secret of the location\n", bucket, s.s3.Endpoint),
		},
		{
			name: "down",
			spec: fmt.Sprintf(`objectStorage: {bucket: %s}, config: {region: us-east-1, s3ForcePathStyle: "true", s3Url: %q}`, bucket, down),
			want: fmt.Sprintf("in bucket %q at %s: storage is unavailable: dial tcp %s: connect: connection refused\n"+
				"  hint: check that the store runs and that s3Url of the location can be reached from here\n", bucket, down, strings.TrimPrefix(down, "http://")),
		},
	}
	s.rest()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := s.beside(t)
			s.apply(fmt.Sprintf("apiVersion: velero.io/v1\nkind: BackupStorageLocation\nmetadata: {name: %s, namespace: %s}\nspec: {provider: aws, %s}\n",
				tt.name, namespace, tt.spec))
			s.after("kubectl", "-n", namespace, "delete", "backupstoragelocation.velero.io/"+tt.name)
			name := unique(tt.name)
			result := s.try("kubectl", "velero", "backup", "create", name, "--include-namespaces", "default", "--storage-location", tt.name, "--wait")
			s.failed(result, fmt.Sprintf("  read the claim of backup %[1]q: read object \"backups/%[1]s/%[1]s-claim.json\" %s", name, tt.want))
			s.must("kubectl", "-n", namespace, "delete", "backup.velero.io/"+name)
		})
	}
}

// TestNamespaceGoneInJob runs the executor outside the cluster, on a Backup that
// no plugin has checked.
func TestNamespaceGoneInJob(t *testing.T) {
	s := start(t)
	name := unique("gone")
	s.apply(fmt.Sprintf(`apiVersion: velero.io/v1
kind: Backup
metadata: {name: %s, namespace: %s, annotations: {kubectl-velero.io/attempt: "0"}}
spec: {includedNamespaces: [nope], storageLocation: default, ttl: 1h}
status: {phase: InProgress}
`, name, namespace))
	credentials := filepath.Join(t.TempDir(), "credentials")
	s.check(s.s3.WriteCredentials(credentials))
	result := s.try(artifact.Executor(s.tree).Output, "backup", "--name", name, "--namespace", namespace,
		"--kubeconfig", s.cluster.Kubeconfig, "--credentials-file", credentials)
	if result.Code != 11 {
		t.Errorf("exit status %d, want 11", result.Code)
	}
	got := s.must("kubectl", "-n", namespace, "get", "backup.velero.io/"+name, "-o", "jsonpath={.status.phase}")
	if got != "PartiallyFailed" {
		t.Errorf("phase %q", got)
	}
	described := s.must("kubectl", "velero", "backup", "describe", name)
	if want := "namespace \"nope\" doesn't exist"; !strings.Contains(described, want) {
		t.Errorf("describe has no %q:\n%s", want, described)
	}
	s.must("kubectl", "velero", "backup", "delete", name, "--confirm")
}

// refused wants a command to end with status 1 and this text alone.
func (s *session) refused(command []string, want string) {
	s.t.Helper()
	result := s.try(command...)
	if result.Code != 1 || result.Stdout != "" {
		s.t.Errorf("exit status %d, output %q", result.Code, result.Stdout)
	}
	// A hint that lists what there is depends on the tests beside this one.
	if strings.HasSuffix(want, " ") && strings.HasPrefix(result.Stderr, want) {
		return
	}
	if diff := cmp.Diff(want, result.Stderr); diff != "" {
		s.t.Errorf("message (-want +got):\n%s", diff)
	}
}

// request is what a store adds to tell requests apart.
var request = regexp.MustCompile(` \(request [0-9A-Z]+\)`)

// failed wants a waited-for backup to end with status 3 and to give the reason.
func (s *session) failed(result console.Result, want string) {
	s.t.Helper()
	if result.Code != 3 {
		s.t.Errorf("exit status %d, want 3", result.Code)
	}
	if got := request.ReplaceAllString(result.Stdout, ""); !strings.Contains(got, want) {
		s.t.Errorf("output has no\n%s\nbut\n%s", want, got)
	}
}

// closedPort returns an address on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return address
}

func portOf(endpoint string) string { return endpoint[strings.LastIndexByte(endpoint, ':')+1:] }

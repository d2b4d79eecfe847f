package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

var update = flag.Bool("update", false, "rewrite golden files")

var now = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (rewrite with -update):\n%s", path, diff)
	}
}

// testFactory has no cluster, and streams that are no terminals.
func testFactory() (f *Factory, out, errOut *bytes.Buffer) {
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	f = newFactory(streams, "/usr/bin/kubectl-velero")
	f.now = func() time.Time { return now }
	return f, out, errOut
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"/usr/local/bin/kubectl-velero": "kubectl velero",
		"kubectl-velero.exe":            "kubectl velero",
		"kubectl-velero_job":            "kubectl velero-job",
		"velero":                        "velero",
	}
	for argv0, want := range cases {
		if got := programName(argv0); got != want {
			t.Errorf("%s: got %q, want %q", argv0, got, want)
		}
	}
}

// TestNamespace is not parallel: it sets the environment.
func TestNamespace(t *testing.T) {
	cases := map[string]struct{ flag, config, env, want string }{
		"nothing":         {want: "velero"},
		"environment":     {env: "from-env", want: "from-env"},
		"config beats it": {config: `{"namespace":"from-config"}`, env: "from-env", want: "from-config"},
		"flag beats all":  {flag: "from-flag", config: `{"namespace":"from-config"}`, env: "from-env", want: "from-flag"},
		"wrong type":      {config: `{"namespace":7}`, want: "velero"},
		"broken config":   {config: `{`, env: "from-env", want: "from-env"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("VELERO_NAMESPACE", c.env)
			if c.config != "" {
				writeClientConfig(t, home, c.config)
			}
			f, _, _ := testFactory()
			f.namespace = c.flag
			if got := f.Namespace(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		err  error
		want int
	}{
		"completed":        {nil, 0},
		"anything else":    {errors.New("x"), 1},
		"partially failed": {endError(backupNoun, "x", launch.Verdict{Outcome: report.PartiallyFailed}), 2},
		"failed":           {endError(backupNoun, "x", launch.Verdict{Outcome: report.Failed}), 3},
		"refused":          {endError(backupNoun, "x", launch.Verdict{Outcome: report.Usage}), 3},
		"cancelled":        {endError(backupNoun, "x", launch.Verdict{Outcome: report.Cancelled}), 4},
		"wrapped":          {fmt.Errorf("around: %w", &outcomeError{outcome: report.Failed}), 3},
		"interrupted":      {fmt.Errorf("get: %w", context.Canceled), 4},
		"timed out":        {fmt.Errorf("get: %w", context.DeadlineExceeded), 4},
	}
	for name, c := range cases {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestPrintError(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	PrintError(&out, nil)
	PrintError(&out, errors.New("no bucket; hint: make one; hint: or name another"))
	if got, want := out.String(), "error: no bucket\nhint: make one\nhint: or name another\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestVelerosFlagsWin lists the names that Velero and kubectl both give a
// meaning, and whose it is here.
func TestVelerosFlagsWin(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	root := newRoot(f)
	cases := []struct {
		command, flag, shorthand, usage string
	}{
		// kubectl: the namespace of the request. Velero: where its objects live.
		{"backup create", "namespace", "n", "Velero's objects"},
		{"schedule create", "namespace", "n", "Velero's objects"},
		// kubectl: the API server's certificate. Velero: the bucket's.
		{"backup logs", "insecure-skip-tls-verify", "", "storage's certificate"},
		{"backup describe", "insecure-skip-tls-verify", "", "storage's certificate"},
		{"install", "insecure-skip-tls-verify", "", "storage's certificate"},
		{"backup-location set", "insecure-skip-tls-verify", "", "storage's certificate"},
		{"backup create", "insecure-skip-tls-verify", "", "server's certificate"},
		// kubectl: print the result, too. Velero: print and create nothing.
		{"backup create", "output", "o", "create nothing"},
		{"restore create", "output", "o", "create nothing"},
		// kubectl: which objects the command is for. Velero: what the backup holds.
		{"backup create", "selector", "l", "Include only"},
		{"restore create", "selector", "l", "Include only"},
		// Both names of the context mean the same.
		{"backup get", "kubecontext", "", "kubeconfig context"},
		{"backup get", "context", "", "kubeconfig context"},
	}
	for _, c := range cases {
		cmd, _, err := root.Find(strings.Fields(c.command))
		if err != nil {
			t.Fatal(err)
		}
		got := cmd.Flag(c.flag)
		if got == nil {
			t.Errorf("%s has no --%s", c.command, c.flag)
			continue
		}
		if got.Shorthand != c.shorthand || !strings.Contains(got.Usage, c.usage) {
			t.Errorf("%s --%s: shorthand %q, usage %q", c.command, c.flag, got.Shorthand, got.Usage)
		}
	}
}

// TestEveryCommandHelps asks of each command that does something for a sentence
// and, unless it is trivial, an example that names the program.
func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	trivial := map[string]bool{"version": true, "options": true, "uninstall": true}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			visit(child)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short help %q", cmd.CommandPath(), cmd.Short)
		}
		if !cmd.HasSubCommands() && !trivial[cmd.Name()] && !strings.Contains(cmd.Example, "  kubectl velero ") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	}
	visit(newRoot(f))
}

func TestBackupTable(t *testing.T) {
	t.Parallel()
	started := metav1.NewTime(now.Add(-time.Hour))
	ended := metav1.NewTime(now.Add(-58 * time.Minute))
	expiration := metav1.NewTime(now.Add(720 * time.Hour))
	past := metav1.NewTime(now.Add(-26 * time.Hour))
	backup := func(name string, phase velerov1.BackupPhase, change func(*velerov1.Backup)) velerov1.Backup {
		b := velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "a"}}}
		b.Spec.StorageLocation = "default"
		b.Status = velerov1.BackupStatus{Phase: phase, StartTimestamp: &started, Expiration: &expiration}
		if change != nil {
			change(&b)
		}
		return b
	}
	backups := []velerov1.Backup{
		backup("shop", velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) {
			b.Status.CompletionTimestamp = &ended
			b.Status.Warnings = 2
			b.Status.Progress = &velerov1.BackupProgress{TotalItems: 12, ItemsBackedUp: 12}
			b.Spec.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
		}),
		backup("nightly-20260101000000", velerov1.BackupPhaseFailed, func(b *velerov1.Backup) { b.Status.Expiration = &past }),
		backup("nightly-20260102000000", velerov1.BackupPhaseInProgress, nil),
		backup("nightly-a", "", func(b *velerov1.Backup) {
			b.Status = velerov1.BackupStatus{QueuePosition: 3}
			b.Spec.TTL.Duration = time.Hour
		}),
		backup("dead", velerov1.BackupPhaseInProgress, nil),
		backup("going", velerov1.BackupPhaseCompleted, func(b *velerov1.Backup) { b.DeletionTimestamp = &ended }),
	}
	sortBackups(backups)
	verdicts := make([]launch.Verdict, len(backups))
	for i, b := range backups {
		switch b.Name {
		case "dead":
			verdicts[i] = launch.Verdict{Standing: launch.Ended, Outcome: report.Failed, Reason: "its Job is gone; hint: look", MayWrite: true}
		case "nightly-20260101000000":
			verdicts[i] = launch.Verdict{Standing: launch.Ended, Outcome: report.Failed, Reason: "bucket gone"}
		}
	}
	for name, args := range map[string][]string{
		"backups.txt":        nil,
		"backups-wide.txt":   {"-o", "wide"},
		"backups-labels.txt": {"--show-labels", "-L", "team"},
	} {
		o, cmd := newOutput(""), &cobra.Command{}
		o.add(cmd, true)
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		var out, errOut bytes.Buffer
		if err := o.printTable(&out, &errOut, backupTable(backups, verdicts, now), "velero"); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

func TestEmptyTable(t *testing.T) {
	t.Parallel()
	o := newOutput("")
	var out, errOut bytes.Buffer
	if err := o.printTable(&out, &errOut, backupTable(nil, nil, now), "velero"); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 || errOut.String() != "No resources found in namespace velero\n" {
		t.Errorf("out %q, errOut %q", out.String(), errOut.String())
	}
}

func TestSplitTimeZone(t *testing.T) {
	t.Parallel()
	cases := map[string][2]string{
		"0 1 * * *":                      {"0 1 * * *", ""},
		"CRON_TZ=Europe/Paris 0 1 * * *": {"0 1 * * *", "Europe/Paris"},
		"TZ=UTC   @daily":                {"@daily", "UTC"},
		"@every 6h":                      {"@every 6h", ""},
	}
	for in, want := range cases {
		expression, zone := splitTimeZone(in)
		if diff := cmp.Diff(want, [2]string{expression, zone}); diff != "" {
			t.Error(diff)
		}
	}
}

func TestChooseLocation(t *testing.T) {
	t.Parallel()
	location := func(name string, isDefault bool) velerov1.BackupStorageLocation {
		return velerov1.BackupStorageLocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.BackupStorageLocationSpec{Default: isDefault}}
	}
	cases := map[string]struct {
		locations []velerov1.BackupStorageLocation
		name      string
		want      string
		wantErr   string
	}{
		"by name":             {[]velerov1.BackupStorageLocation{location("a", true), location("b", false)}, "b", "b", ""},
		"the default":         {[]velerov1.BackupStorageLocation{location("default", false), location("b", true)}, "", "b", ""},
		"the one called so":   {[]velerov1.BackupStorageLocation{location("a", false), location("default", false)}, "", "default", ""},
		"unknown":             {[]velerov1.BackupStorageLocation{location("a", true), location("b", false)}, "c", "", `storage location "c" does not exist; hint: there is a, b`},
		"no default to guess": {[]velerov1.BackupStorageLocation{location("a", false)}, "", "", "no storage location is the default one; hint: choose one with --storage-location: a"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := chooseLocation(c.locations, c.name)
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("got %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil || got.Name != c.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

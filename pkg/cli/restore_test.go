package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// TestRestoreOfFlags looks at the object that each flag leads to.
func TestRestoreOfFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args        []string
		spec        func(*velerov1.RestoreSpec)
		annotations map[string]string
	}{
		"nothing but a backup": {},
		"namespaces": {
			args: []string{"--include-namespaces", "shop,db-*", "--exclude-namespaces", "db-old", "--namespace-mappings", "shop:copy,db-1:db-2"},
			spec: func(s *velerov1.RestoreSpec) {
				s.IncludedNamespaces, s.ExcludedNamespaces = []string{"shop", "db-*"}, []string{"db-old"}
				s.NamespaceMapping = map[string]string{"shop": "copy", "db-1": "db-2"}
			},
		},
		"kinds": {
			args: []string{"--include-resources", "deploy,secrets", "--exclude-resources", "pods", "--include-cluster-resources=false"},
			spec: func(s *velerov1.RestoreSpec) {
				s.IncludedResources, s.ExcludedResources = []string{"deploy", "secrets"}, []string{"pods"}
				s.IncludeClusterResources = ptr.To(false)
			},
		},
		"kinds by scope": {
			args: []string{"--include-cluster-scoped-resources", "pv,sc", "--exclude-cluster-scoped-resources", "nodes",
				"--include-namespace-scoped-resources", "secrets", "--exclude-namespace-scoped-resources", "pods"},
			annotations: map[string]string{
				"kubectl-velero.io/included-cluster-scoped-resources":   "pv,sc",
				"kubectl-velero.io/excluded-cluster-scoped-resources":   "nodes",
				"kubectl-velero.io/included-namespace-scoped-resources": "secrets",
				"kubectl-velero.io/excluded-namespace-scoped-resources": "pods",
			},
		},
		"objects": {
			args: []string{"--include-objects", "shop/deploy/web", "--include-objects", "*/secret/db-*,clusterrole/view", "--exclude-objects", "shop/secret/db-old"},
			annotations: map[string]string{
				"kubectl-velero.io/include-objects": "shop/deploy/web,*/secret/db-*,clusterrole/view",
				"kubectl-velero.io/exclude-objects": "shop/secret/db-old",
			},
		},
		"labels": {
			args: []string{"-l", "app=web"},
			spec: func(s *velerov1.RestoreSpec) {
				s.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
			},
		},
		"one of several labels": {
			args: []string{"--or-selector", "app=web or app=db"},
			spec: func(s *velerov1.RestoreSpec) {
				s.OrLabelSelectors = []*metav1.LabelSelector{{MatchLabels: map[string]string{"app": "web"}}, {MatchLabels: map[string]string{"app": "db"}}}
			},
		},
		"what to do with objects": {
			args: []string{"--existing-resource-policy", "recreate", "--status-include-resources", "*", "--status-exclude-resources", "pods",
				"--preserve-nodeports", "--restore-volumes=false", "--resource-modifier-configmap", "changes"},
			spec: func(s *velerov1.RestoreSpec) {
				s.ExistingResourcePolicy = "recreate"
				s.RestoreStatus = &velerov1.RestoreStatusSpec{IncludedResources: []string{"*"}, ExcludedResources: []string{"pods"}}
				s.PreserveNodePorts, s.RestorePVs = ptr.To(true), ptr.To(false)
				s.ResourceModifier = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "changes"}
			},
		},
		"data of volumes": {
			args: []string{"--write-sparse-files", "--parallel-files-download", "4", "--item-operation-timeout", "1h"},
			spec: func(s *velerov1.RestoreSpec) {
				s.UploaderConfig = &velerov1.UploaderConfigForRestore{WriteSparseFiles: ptr.To(true), ParallelFilesDownload: 4}
				s.ItemOperationTimeout.Duration = time.Hour
			},
		},
		"order and patience": {
			args: []string{"--restore-resource-priorities", "secrets, configmaps,-,jobs.batch", "--retry-for", "5m", "--annotations", "team=a"},
			annotations: map[string]string{
				"kubectl-velero.io/restore-resource-priorities": "secrets,configmaps,-,jobs.batch",
				"kubectl-velero.io/retry-for":                   "5m0s",
				"team":                                          "a",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, errOut, err := runCommand(t, append([]string{"restore", "create", "r", "--from-backup", "shop", "-o", "yaml"}, c.args...)...)
			if err != nil || errOut != "" {
				t.Fatal(err, errOut)
			}
			var got velerov1.Restore
			if err := yaml.UnmarshalStrict([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			want := velerov1.RestoreSpec{BackupName: "shop", IncludedNamespaces: []string{"*"}}
			if c.spec != nil {
				c.spec(&want)
			}
			if diff := cmp.Diff(want, got.Spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.annotations, got.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRestoreIsNamedAfterItsSource needs no cluster.
func TestRestoreIsNamedAfterItsSource(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"restore.velero.io/shop-20260102030000 created (dry run)\n":    {"--from-backup", "shop"},
		"restore.velero.io/nightly-20260102030000 created (dry run)\n": {"--from-schedule", "nightly"},
		"restore.velero.io/mine created (dry run)\n":                   {"mine", "--from-schedule", "nightly"},
	} {
		out, _, err := runCommand(t, append([]string{"restore", "create", "--dry-run"}, args...)...)
		if err != nil || out != want {
			t.Errorf("%q: got %q, %v", args, out, err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	from := []string{"--from-backup", "shop"}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no source":               {nil, "--from-backup is missing; hint: `kubectl velero backup get` lists the backups"},
		"two sources":             {append(from, "--from-schedule", "nightly"), "--from-backup and --from-schedule can't be used together; hint: leave out one of the two"},
		"a blank source":          {[]string{"--from-backup", ""}, `invalid argument "" for "--from-backup" flag: the name is empty`},
		"a policy that isn't":     {append(from, "--existing-resource-policy", "replace"), `"replace" is not known; hint: there are none, update and recreate`},
		"both families":           {append(from, "--include-resources", "pods", "--include-namespace-scoped-resources", "secrets"), "--include-resources can't be used together with --include-namespace-scoped-resources"},
		"what is never restored":  {append(from, "--include-resources", "pods,nodes"), `--include-resources: "nodes" belongs to a cluster or to an installation, and is never restored`},
		"both selectors":          {append(from, "-l", "a=b", "--or-selector", "c=d"), "--selector and --or-selector can't be used together"},
		"no pattern for objects":  {append(from, "--include-objects", "web"), `--include-objects: "web" is no pattern for objects: write NAMESPACE/KIND/NAME`},
		"no name for a namespace": {append(from, "--namespace-mappings", "shop:Copy"), `--namespace-mappings shop:Copy: "Copy" is not the name of a namespace`},
		"a mapping of what is filtered out": {append(from, "--include-namespaces", "shop", "--namespace-mappings", "shp:copy"),
			`--namespace-mappings shp:copy: namespace "shp" is not restored; hint: filters and the left side of a mapping are names in the backup`},
		"a mapping of what is excluded": {append(from, "--exclude-namespaces", "sh*", "--namespace-mappings", "shop:copy"), `namespace "shop" is not restored`},
		"no status to exclude from":     {append(from, "--status-exclude-resources", "pods"), "--status-exclude-resources has no effect by itself"},
		"status in and out":             {append(from, "--status-include-resources", "pods", "--status-exclude-resources", "pods"), `"pods" is in both --status-include-resources and --status-exclude-resources`},
		"negative files":                {append(from, "--parallel-files-download", "-1"), "--parallel-files-download -1 is negative"},
		"a priority twice":              {append(from, "--restore-resource-priorities", "pods,secrets,pods"), `--restore-resource-priorities: "pods" is there twice`},
		"two dividers":                  {append(from, "--restore-resource-priorities", "pods,-,secrets,-"), `--restore-resource-priorities: "-" is there twice`},
		"a priority that is no kind":    {append(from, "--restore-resource-priorities", "pods/*"), `--restore-resource-priorities: "pods/*" is not the name of a kind`},
		"an annotation of ours":         {append(from, "--annotations", "kubectl-velero.io/retry-for=1m"), `--annotations: "kubectl-velero.io/retry-for" is kept for this program`},
		"no name":                       {append(from, "Shop"), `"Shop" is not a name for a restore`},
		"an unknown dry run":            {append(from, "--dry-run=maybe"), `"maybe" is not known; hint: there are none, client and server`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _, err := runCommand(t, append([]string{"restore", "create", "-o", "yaml"}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n got %v\nwant %s", err, c.want)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestNewestBackup(t *testing.T) {
	t.Parallel()
	backup := func(name string, phase velerov1.BackupPhase, hour int) velerov1.Backup {
		b := velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: velerov1.BackupStatus{Phase: phase}}
		if hour >= 0 {
			b.Status.StartTimestamp = ptr.To(metav1.NewTime(now.Add(time.Duration(hour) * time.Hour)))
		}
		return b
	}
	const completed, partial, failed = velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed, velerov1.BackupPhaseFailed
	for name, c := range map[string]struct {
		backups        []velerov1.Backup
		whole, partial string // the newest that is whole, and that is at least partial
	}{
		"none":                    {nil, "", ""},
		"none that is good":       {[]velerov1.Backup{backup("a", failed, 1), backup("b", "", 2)}, "", ""},
		"by time, not by name":    {[]velerov1.Backup{backup("z", completed, 1), backup("a", completed, 2), backup("m", completed, 0)}, "a", "a"},
		"a newer one is partial":  {[]velerov1.Backup{backup("a", completed, 1), backup("b", partial, 2)}, "a", "b"},
		"an older one is partial": {[]velerov1.Backup{backup("a", completed, 2), backup("b", partial, 1)}, "a", "a"},
		"only a partial one":      {[]velerov1.Backup{backup("b", partial, 1)}, "", "b"},
		"one without a time":      {[]velerov1.Backup{backup("a", completed, -1)}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nameOf := func(b *velerov1.Backup) string {
				if b == nil {
					return ""
				}
				return b.Name
			}
			got := [2]string{nameOf(newestBackup(c.backups, false)), nameOf(newestBackup(c.backups, true))}
			if diff := cmp.Diff([2]string{c.whole, c.partial}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMustHold looks at namespaces that a backup can't have in it.
func TestMustHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held, wanted []string
		mapping      map[string]string
		want         string
	}{
		"a backup of everything": {nil, []string{"shop"}, nil, ""},
		"everything":             {[]string{"shop"}, []string{"*"}, nil, ""},
		"what it holds":          {[]string{"shop", "db"}, []string{"db"}, map[string]string{"db": "copy"}, ""},
		"a backup of patterns":   {[]string{"shop", "db-*"}, []string{"db-1"}, nil, ""},
		"a pattern":              {[]string{"shop"}, []string{"db-*"}, nil, ""},
		"something else":         {[]string{"shop"}, []string{"db"}, nil, `namespace "db" is not in backup "b"; hint: it holds shop`},
		"a misspelt mapping":     {[]string{"shop"}, []string{"*"}, map[string]string{"shp": "copy"}, `namespace "shp" is not in backup "b"; hint: it holds shop`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backup := &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: velerov1.BackupSpec{IncludedNamespaces: c.held}}
			got := ""
			if err := mustHold(backup, velerov1.RestoreSpec{IncludedNamespaces: c.wanted, NamespaceMapping: c.mapping}); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestRestoreTakesVelerosFlags lists what a script written for Velero 1.18 can say.
func TestRestoreTakesVelerosFlags(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	cmd := newRestoreCreate(f, "create")
	for flag, value := range map[string]string{
		"from-backup": "b", "from-schedule": "s", "allow-partially-failed": "true",
		"include-namespaces": "a,b", "exclude-namespaces": "c", "namespace-mappings": "a:b,c:d",
		"include-resources": "pods", "exclude-resources": "secrets", "include-cluster-resources": "true",
		"selector": "a=b", "or-selector": "a=b or c=d", "labels": "a=b", "annotations": "a=b",
		"existing-resource-policy": "update", "status-include-resources": "pods", "status-exclude-resources": "jobs",
		"item-operation-timeout": "1h", "restore-volumes": "false", "preserve-nodeports": "true",
		"resource-modifier-configmap": "m", "write-sparse-files": "true", "parallel-files-download": "4",
		"wait": "true", "output": "yaml",
	} {
		if err := cmd.Flags().Set(flag, value); err != nil {
			t.Errorf("--%s %s: %v", flag, value, err)
		}
	}
	for shorthand, flag := range map[string]string{"l": "selector", "w": "wait", "o": "output"} {
		if got := cmd.Flags().ShorthandLookup(shorthand); got == nil || got.Name != flag {
			t.Errorf("-%s is not --%s", shorthand, flag)
		}
	}
}

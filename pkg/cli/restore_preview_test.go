package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// somePreviewed has one object of each action, in no order.
func somePreviewed() *previewed {
	item := func(action report.PreviewAction, resource, version, kind, namespace, name, reason string) report.PreviewItem {
		return report.PreviewItem{Action: action, Resource: resource, Version: version, Kind: kind, Namespace: namespace, Name: name, Reason: reason}
	}
	p := &previewed{Backup: "shop", Warnings: []string{"2 kinds are old"}, Items: []report.PreviewItem{
		item(report.PreviewRefuse, "pods", "v1", "Pod", "shop", "big", "exceeded quota: pods=1;\nused 1\x1b[31m"),
		item(report.PreviewCreate, "services", "v1", "Service", "shop", "web", ""),
		item(report.PreviewCreate, "deployments.apps", "v1", "Deployment", "shop", "web", ""),
		item(report.PreviewCreate, "namespaces", "v1", "Namespace", "", "shop", ""),
		item(report.PreviewUnchanged, "configmaps", "v1", "ConfigMap", "shop", "same", ""),
		item(report.PreviewUpdate, "configmaps", "v1", "ConfigMap", "shop", "b", ""),
		item(report.PreviewRecreate, "jobs.batch", "v1", "Job", "shop", "once", ""),
		item(report.PreviewSkip, "leases.coordination.k8s.io", "v1", "Lease", "shop", "l", "Leases aren't restored"),
		item(report.PreviewUnchecked, "widgets.example.com", "", "", "shop", "w", "the restore would create its kind"),
	}}
	p.Items[1].Warnings = []string{"spec.clusterIP is dropped"}
	p.Counts = map[report.PreviewAction]int{}
	for _, item := range p.Items {
		p.Counts[item.Action]++
	}
	slices.SortFunc(p.Items, comparePreviewItems)
	return p
}

func TestPreviewedOutput(t *testing.T) {
	t.Parallel()
	for format, file := range map[string]string{
		"": "restore-preview.txt", "wide": "restore-preview-wide.txt",
		"json": "restore-preview.json", "yaml": "restore-preview.yaml",
	} {
		var out bytes.Buffer
		if err := somePreviewed().print(&out, format); err != nil {
			t.Fatal(err)
		}
		golden(t, file, out.String())
	}
}

func TestPreviewedSummary(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		p       *previewed
		want    string
		wantErr string
	}{
		"everything": {
			somePreviewed(),
			"Restore from backup \"shop\" (server dry run): 1 unchanged, 3 to create, 1 to update, 1 to recreate, 1 skipped, 1 that can't be told yet, 1 that would be refused\nwarning: 2 kinds are old\n",
			"this restore would not complete: 1 object would be refused",
		},
		"nothing": {
			&previewed{Backup: "shop"},
			"Restore from backup \"shop\" (server dry run): nothing to restore\n", "",
		},
		"only errors": {
			&previewed{Backup: "shop", Errors: []string{"no kind; hint: install it", "another"}},
			"Restore from backup \"shop\" (server dry run): nothing to restore\nerror: no kind\nhint: install it\nerror: another\n",
			"this restore would not complete: 2 errors",
		},
		"both": {
			&previewed{Backup: "b", Errors: []string{"x"}, Counts: map[report.PreviewAction]int{report.PreviewRefuse: 2}},
			"Restore from backup \"b\" (server dry run): 2 that would be refused\nerror: x\n",
			"this restore would not complete: 2 objects would be refused and 1 error",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			c.p.summarize(&out)
			if diff := cmp.Diff(c.want, out.String()); diff != "" {
				t.Error(diff)
			}
			err := c.p.failure()
			if c.wantErr == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || err.Error() != c.wantErr || ExitCode(err) != 1 {
				t.Errorf("error %v, exit code %d", err, ExitCode(err))
			}
		})
	}
}

// TestPreviewRank: an action of a newer executor must not look like a failure.
func TestPreviewRank(t *testing.T) {
	t.Parallel()
	if previewRank("adopt") >= previewRank(report.PreviewUnchanged) {
		t.Error("an unknown action comes last")
	}
}

// differing are the items of a diff, in no order.
func differing() []report.PreviewItem {
	item := func(action report.PreviewAction, resource, namespace, name, live, wanted string) report.PreviewItem {
		return report.PreviewItem{Action: action, Resource: resource, Namespace: namespace, Name: name, Live: json.RawMessage(live), Wanted: json.RawMessage(wanted)}
	}
	return []report.PreviewItem{
		item(report.PreviewSkip, "secrets", "shop", "key", `{"data":{"a":"MQ==","b":"Mg=="}}`, `{"data":{"a":"MQ==","b":"Mw=="}}`),
		item(report.PreviewCreate, "configmaps", "shop", "fresh", "", `{"data":{"n":12345678901234567890}}`),
		item(report.PreviewUpdate, "clusterroles.rbac.authorization.k8s.io", "", "system:x", `{"rules":[]}`, `{"rules":null}`),
		item(report.PreviewUnchanged, "configmaps", "shop", "same", "", ""),
		item(report.PreviewRefuse, "widgets.example.com", "shop", "w", "", ""),
	}
}

const wantedDiff = `diff live clusterroles.rbac.authorization.k8s.io/system:x restored clusterroles.rbac.authorization.k8s.io/system:x
--- live clusterroles.rbac.authorization.k8s.io/system:x
+++ restored clusterroles.rbac.authorization.k8s.io/system:x
@@ -1,1 +1,1 @@
-rules: []
+rules: null
diff live shop/configmaps/fresh restored shop/configmaps/fresh
--- live shop/configmaps/fresh
+++ restored shop/configmaps/fresh
@@ -0,0 +1,2 @@
+data:
+  "n": 12345678901234567890
diff live shop/secrets/key restored shop/secrets/key
--- live shop/secrets/key
+++ restored shop/secrets/key
@@ -1,3 +1,3 @@
 data:
   a: '***'
-  b: '*** (before)'
+  b: '*** (after)'
`

// collect hands the items to a sink and shows it.
func collect(t *testing.T, program string, items []report.PreviewItem) (d *differences, out, errOut string) {
	t.Helper()
	sink, err := newDiffSink(program)
	if err != nil {
		t.Fatal(err)
	}
	var shown, told bytes.Buffer
	d = &differences{sink: sink, objects: comparison{normal: normalizer{status: true}}}
	for _, item := range items {
		if err := d.add(item); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(sink.show(t.Context(), &shown, &told), sink.close()); err != nil {
		t.Fatal(err)
	}
	d.summarize(&told, "shop", report.PreviewEnd{Counts: map[report.PreviewAction]int{report.PreviewUnchanged: 1}, Warnings: []string{"w; hint: h"}})
	return d, shown.String(), told.String()
}

func TestRestoreDiff(t *testing.T) {
	t.Parallel()
	d, out, errOut := collect(t, " ", differing())
	if diff := cmp.Diff(wantedDiff, out); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	want := "warning: shop/widgets.example.com/w can't be compared: refuse\n" +
		"warning: w\nhint: h\n" +
		"From the cluster to a restore of backup \"shop\": 1 added, 2 changed, 1 the same, 1 that can't be compared\n"
	if diff := cmp.Diff(want, errOut); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
	if d.added != 1 || d.changed != 2 || len(d.unknown) != 1 {
		t.Errorf("%+v", d)
	}
}

// TestExternalDiff has a program show what differs.
func TestExternalDiff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "show")
	script := `#!/bin/sh
[ "$#" = 3 ] || exit 9
echo "$1"; cd "$2" && for f in *; do echo "live $f"; done; cd "$3" && for f in *; do echo "restored $f"; done; cat shop.secrets.key
exit 1
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	_, out, _ := collect(t, program+" -u ;x", differing())
	want := `-u
live clusterroles.rbac.authorization.k8s.io.system-x
live shop.secrets.key
restored clusterroles.rbac.authorization.k8s.io.system-x
restored shop.configmaps.fresh
restored shop.secrets.key
data:
  a: '***'
  b: '*** (after)'
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if _, out, _ := collect(t, program, nil); out != "" {
		t.Errorf("called without a difference: %s", out)
	}
}

func TestExternalDiffFails(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"false":             "", // exit code 1 is a difference
		"/nonexistent/diff": "run $KUBECTL_EXTERNAL_DIFF: fork/exec /nonexistent/diff: no such file or directory",
		"ls --no-such-flag": "run $KUBECTL_EXTERNAL_DIFF: exit status 2",
	} {
		sink, err := newDiffSink(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.add(objectKey{"secrets", "a", "b"}, [2][]byte{[]byte("a"), []byte("b")}); err != nil {
			t.Fatal(err)
		}
		err = sink.show(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", program, err, want)
		}
		folder := sink.(*diffFolders).folder
		if err := sink.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", folder, err)
		}
	}
}

// TestRestoreDiffRefuses: whatever is wrong with the call can't be taken for a
// difference.
func TestRestoreDiffRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"restore", "diff"},
		{"restore", "diff", "--from-backup", "a", "--no-such-flag"},
		{"restore", "diff", "a"},
		{"restore", "diff", "--from-backup", "a", "--namespace-mappings", "a:B"},
	} {
		f, _, _ := testFactory()
		root := newRoot(f)
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); ExitCode(err) != 2 {
			t.Errorf("%q: exit code %d: %v", args, ExitCode(err), err)
		}
	}
}

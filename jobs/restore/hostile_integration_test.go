//go:build integration

package restore_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"

	"github.com/kubectl-velero/kubectl-velero/jobs/restore"
)

// tarball is an archive made entry by entry, as nobody's writer would.
type tarball struct {
	w   *world
	out bytes.Buffer
	gz  *gzip.Writer
	tar *tar.Writer
}

func (w *world) tarball() *tarball {
	b := &tarball{w: w}
	b.gz, _ = gzip.NewWriterLevel(&b.out, gzip.BestSpeed) // the level is one that it knows
	b.tar = tar.NewWriter(b.gz)
	return b
}

// file adds an entry; APP in name and body is the world's namespace.
func (b *tarball) file(name, body string) *tarball {
	return b.entry(tar.Header{Name: name, Typeflag: tar.TypeReg}, body)
}

func (b *tarball) entry(header tar.Header, body string) *tarball {
	b.w.t.Helper()
	replace := strings.NewReplacer("APP", b.w.app)
	header.Name, header.Mode, body = replace.Replace(header.Name), 0o755, replace.Replace(body)
	header.Size = int64(len(body))
	b.w.must(b.tar.WriteHeader(&header))
	_, err := io.WriteString(b.tar, body)
	b.w.must(err)
	return b
}

// configMap adds a sound object.
func (b *tarball) configMap(name string) *tarball {
	return b.file("resources/configmaps/namespaces/APP/"+name+".json", configMapJSON(name))
}

func configMapJSON(name string) string {
	return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `","namespace":"APP"},"data":{"a":"b"}}`
}

func (b *tarball) bytes() []byte {
	b.w.t.Helper()
	b.w.must(b.tar.Close())
	b.w.must(b.gz.Close())
	return b.out.Bytes()
}

// said wants that exactly one of the texts has all the words.
func (w *world) said(texts []string, words ...string) {
	w.t.Helper()
	count := 0
	for _, text := range texts {
		has := true
		for _, word := range words {
			has = has && strings.Contains(text, strings.ReplaceAll(word, "APP", w.app))
		}
		if has {
			count++
		}
	}
	if count != 1 {
		w.t.Errorf("%d texts have %q, want one:\n%s", count, words, strings.Join(texts, "\n"))
	}
}

// errors are all errors of a restore, wherever they stand in the results.
func (w *world) errors(name string) []string { return flat(w.results(name).Errors) }

func (w *world) warnings(name string) []string { return flat(w.results(name).Warnings) }

func flat(r report.Result) []string {
	all := append(append([]string{}, r.Velero...), r.Cluster...)
	for _, texts := range r.Namespaces {
		all = append(all, texts...)
	}
	return all
}

// configMaps are the names of those in the world's namespace.
func (w *world) configMaps() map[string]bool {
	w.t.Helper()
	list, err := w.kube.CoreV1().ConfigMaps(w.app).List(w.t.Context(), metav1.ListOptions{})
	w.must(err)
	names := map[string]bool{}
	for _, item := range list.Items {
		names[item.Name] = true
	}
	return names
}

// Each bad entry is one error that names it, and what is sound is restored.
func TestHostileEntries(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		header tar.Header
		body   string
		words  []string
	}{
		"dot dot":                  {header: tar.Header{Name: "resources/configmaps/namespaces/APP/../../../evil.json"}, words: []string{"../", "safe"}},
		"absolute":                 {header: tar.Header{Name: "/resources/configmaps/namespaces/APP/evil.json"}, words: []string{"/resources", "safe"}},
		"kind's case":              {header: tar.Header{Name: "resources/ConfigMaps/namespaces/APP/evil.json"}, words: []string{"ConfigMaps"}},
		"namespace's case":         {header: tar.Header{Name: "resources/configmaps/namespaces/SHOP/evil.json"}, words: []string{"SHOP"}},
		"link":                     {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json", Typeflag: tar.TypeSymlink, Linkname: "good.json"}, words: []string{"evil.json", "neither file nor folder"}},
		"hard link":                {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json", Typeflag: tar.TypeLink, Linkname: "resources/configmaps/namespaces/APP/good.json"}, words: []string{"evil.json", "neither file nor folder"}},
		"no name of Kubernetes":    {header: tar.Header{Name: "resources/configmaps/namespaces/APP/e vil.json"}, body: configMapJSON("e vil"), words: []string{"e vil"}},
		"name with a newline":      {header: tar.Header{Name: "resources/configmaps/namespaces/APP/e\nvil.json"}, body: configMapJSON(`e\nvil`), words: []string{"vil"}},
		"no JSON":                  {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: "evil", words: []string{"evil"}},
		"empty":                    {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: "", words: []string{"evil"}},
		"half an object":           {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: configMapJSON("evil")[:50], words: []string{"evil"}},
		"two objects":              {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: configMapJSON("evil") + configMapJSON("evil"), words: []string{"evil"}},
		"a list":                   {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: `[` + configMapJSON("evil") + `]`, words: []string{"evil"}},
		"a List":                   {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: `{"apiVersion":"v1","kind":"List","metadata":{"name":"evil","namespace":"APP"},"items":[` + configMapJSON("evil") + `]}`, words: []string{"evil", "another object"}},
		"other kind":               {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: strings.Replace(configMapJSON("evil"), "ConfigMap", "Secret", 1), words: []string{"evil", "another object"}},
		"other group":              {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: strings.Replace(configMapJSON("evil"), `"v1"`, `"apps/v1"`, 1), words: []string{"evil", "another object"}},
		"other name":               {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: configMapJSON("other"), words: []string{"evil", "another object"}},
		"other namespace":          {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: strings.Replace(configMapJSON("evil"), "APP", "kube-system", 1), words: []string{"evil", "another object"}},
		"no namespace":             {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"evil"}}`, words: []string{"evil", "another object"}},
		"no cluster-scoped kind":   {header: tar.Header{Name: "resources/configmaps/cluster/evil.json"}, body: `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"evil"}}`, words: []string{"evil"}},
		"deep":                     {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: strings.Replace(configMapJSON("evil"), `"b"`, strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), 1), words: []string{"evil"}},
		"labels of the wrong type": {header: tar.Header{Name: "resources/configmaps/namespaces/APP/evil.json"}, body: strings.Replace(configMapJSON("evil"), `"metadata":{`, `"metadata":{"labels":[1],`, 1), words: []string{"evil"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.putArchive("b", w.tarball().configMap("before").entry(tc.header, tc.body).configMap("good").bytes())
			summary, after := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
			if summary.Outcome != report.PartiallyFailed || after.Status.Errors != 1 {
				t.Errorf("summary %+v", summary)
			}
			w.said(w.errors("r"), tc.words...)
			if got := w.configMaps(); len(got) != 2 || !got["before"] || !got["good"] {
				t.Errorf("restored: %v", got)
			}
		})
	}
}

// What is no part of the format is not passed over in silence.
func TestForeignEntriesAreSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.putArchive("b", w.tarball().configMap("good").
		file("Resources/configmaps/namespaces/APP/a.json", configMapJSON("a")).
		file("resources/configmaps/Namespaces/APP/b.json", configMapJSON("b")).
		file("resources/configmaps/namespaces/APP/c.JSON", configMapJSON("c")).bytes())
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.Completed {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.warnings("r"), "3 entries")
	if got := w.configMaps(); len(got) != 1 || !got["good"] {
		t.Errorf("restored: %v", got)
	}
}

// Which of two is the object nobody can know.
func TestObjectThatIsThereTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	second := strings.Replace(configMapJSON("twice"), `"b"`, `"c"`, 1)
	w.putArchive("b", w.tarball().configMap("twice").configMap("good").
		file("resources/configmaps/namespaces/APP/twice.json", second).bytes())
	summary, _ := w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, nil)
	if summary.Outcome != report.PartiallyFailed || summary.Errors != 1 {
		t.Errorf("summary %+v", summary)
	}
	w.said(w.errors("r"), "twice")
	if got := w.configMaps(); len(got) != 1 || !got["good"] {
		t.Errorf("restored: %v", got)
	}
}

// Cut between two members an archive is sound gzip and a sound tar, as far as it
// goes.
func TestArchiveCutBetweenMembersWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var out bytes.Buffer
	writer, err := archive.NewWriter(&out, time.Now())
	w.must(err)
	for _, resource := range []string{"configmaps", "secrets"} {
		kind, err := writer.Kind(schema.GroupResource{Resource: resource}, "v1", true)
		w.must(err)
		kindName := map[string]string{"configmaps": "ConfigMap", "secrets": "Secret"}[resource]
		w.must(kind.Write(w.app, "a", fmt.Appendf(nil, `{"apiVersion":"v1","kind":%q,"metadata":{"name":"a","namespace":%q}}`, kindName, w.app)))
		w.must(kind.Close())
	}
	index, err := writer.Close()
	w.must(err)
	for n, m := range index.Members {
		if n == 0 {
			continue
		}
		name := fmt.Sprintf("cut-%d", n)
		w.putArchive(name, out.Bytes()[:m.Offset])
		summary, after := w.restore(name, velerov1.RestoreSpec{BackupName: name}, nil)
		if summary.Outcome != report.Failed || !strings.Contains(after.Status.FailureReason, "archive") {
			t.Errorf("%d of %d bytes: %+v", m.Offset, index.Size, summary)
		}
	}
	if w.get("namespaces", "", w.app) != nil {
		t.Error("something was written")
	}
}

// An index is as little to be trusted as the archive: one that doesn't fit must
// not make a restore leave something out in silence.
func TestIndexThatLies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var out bytes.Buffer
	writer, err := archive.NewWriter(&out, time.Now())
	w.must(err)
	for _, gr := range []string{"configmaps", "secrets", "roles.rbac.authorization.k8s.io"} {
		resource := schema.ParseGroupResource(gr)
		kind, err := writer.Kind(resource, "v1", true)
		w.must(err)
		body := map[string]string{
			"configmaps": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":%q}}`,
			"secrets":    `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a","namespace":%q}}`,
			"roles":      `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"a","namespace":%q},"rules":[]}`,
		}[resource.Resource]
		w.must(kind.Write(w.app, "a", fmt.Appendf(nil, body, w.app)))
		w.must(kind.Close())
	}
	index, err := writer.Close()
	w.must(err)
	for name, lie := range map[string]func(m *archive.Member){
		"kind":      func(m *archive.Member) { m.Resource = "gears.example.com" },
		"nothing":   func(m *archive.Member) { m.Resource, m.Objects, m.First, m.Last = "", 0, "", "" },
		"version":   func(m *archive.Member) { m.Version, m.Preferred = "v9", false },
		"namespace": func(m *archive.Member) { m.First, m.Last = "elsewhere/a", "elsewhere/a" },
		"count":     func(m *archive.Member) { m.Objects = 1_000_000_000 },
	} {
		wrong := *index
		wrong.Members = append([]archive.Member{}, index.Members...)
		for i := range wrong.Members {
			if wrong.Members[i].Resource == "secrets" {
				lie(&wrong.Members[i])
			}
		}
		backup := "index-" + name
		w.putArchive(backup, out.Bytes())
		w.must(catalog.New(w.bucket).PutJSON(t.Context(), catalog.BackupFile(backup, catalog.Index), wrong))
		summary, _ := w.restore(backup, velerov1.RestoreSpec{BackupName: backup, NamespaceMapping: map[string]string{w.app: w.app + "-" + name}}, nil)
		if summary.Outcome != report.Completed || w.get("secrets", w.app+"-"+name, "a") == nil {
			t.Errorf("%s: summary %+v", name, summary)
		}
		if name != "namespace" { // it harms only who restores less than everything
			w.said(w.warnings(backup), "index", "isn't about this archive")
		}
	}
}

// Small to store, large to read: what is in memory is bounded all the same. It
// isn't parallel, since it looks at the memory of the process.
func TestManyHugeObjects(t *testing.T) {
	w := newWorld(t)
	const objects, size = 10, 48 << 20
	blanks := strings.Repeat(" ", size)
	b := w.tarball()
	for n := range objects {
		name := fmt.Sprintf("huge-%d", n)
		b.file("resources/configmaps/namespaces/APP/"+name+".json", strings.TrimSuffix(configMapJSON(name), "}")+blanks+"}")
	}
	w.putArchive("b", b.configMap("good").bytes())
	blanks = ""
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := make(chan uint64, 1)
	done := make(chan struct{})
	go func() {
		var most uint64
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-done:
				tick.Stop()
				peak <- most
				return
			case <-tick.C:
				runtime.ReadMemStats(&now)
				most = max(most, now.HeapInuse)
			}
		}
	}()
	_, _ = w.restore("r", velerov1.RestoreSpec{BackupName: "b"}, func(c *restore.Config) { c.Workers = 32 })
	close(done)
	if grown := int64(<-peak) - int64(before.HeapInuse); grown > 384<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if !w.configMaps()["good"] {
		t.Error("the object of the usual size was not restored")
	}
}

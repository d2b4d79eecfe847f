package verify_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

func TestOursIsSound(t *testing.T) {
	t.Parallel()
	f := ours(t)
	summary, lines := run(t, f, "b")
	if len(lines) > 0 {
		t.Errorf("findings: %s", strings.Join(lines, "\n"))
	}
	var bytes int64
	for _, body := range f {
		bytes += int64(len(body))
	}
	want := verify.Summary{Backup: "b", Sound: true, Objects: len(f), Bytes: bytes, Items: len(objects())}
	if diff := cmp.Diff(want, summary); diff != "" {
		t.Error(diff)
	}
}

// TestVelerosAreSound reads what Velero 1.18.0 wrote: sound, as far as it can be
// checked, and it says how far that is.
func TestVelerosAreSound(t *testing.T) {
	t.Parallel()
	for name, items := range map[string]int{"shop": 80, "shop-selected": 8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			summary, lines := run(t, fixture(t, name), name)
			want := []string{
				"unchecked " + name + "-checksums.json : there are no checksums, as in backups that Velero wrote: whether the objects are what was written can't be told",
				"unchecked " + name + ".tar.gz : there is no index, as in backups that Velero wrote: where in the archive what is can't be compared",
			}
			if diff := cmp.Diff(want, lines); diff != "" {
				t.Errorf("findings: %s", diff)
			}
			if !summary.Sound || summary.Items != items {
				t.Errorf("%+v", summary)
			}
		})
	}
}

// TestFlippedBytes changes each object at its beginning, middle and end.
func TestFlippedBytes(t *testing.T) {
	t.Parallel()
	whole := ours(t)
	for name, body := range whole {
		for _, at := range []int{0, 4, len(body) / 2, len(body) - 1} {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				t.Parallel()
				f := maps.Clone(whole)
				f[name] = bytes.Clone(body)
				f[name][at] ^= 0x20
				summary, lines := run(t, f, "b")
				if name == "velero-backup.json" {
					return // nothing but its own content vouches for it
				}
				if summary.Sound {
					t.Error("sound")
				}
				if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "broken "+name+" ") }) {
					t.Errorf("not told of %s:\n%s", name, strings.Join(lines, "\n"))
				}
			})
		}
	}
}

// TestFlippedBytesWithoutChecksums has nothing but the formats themselves.
func TestFlippedBytesWithoutChecksums(t *testing.T) {
	t.Parallel()
	whole := fixture(t, "shop")
	const gzipHeader = 10 // no checksum covers it
	for name, body := range whole {
		if name == "velero-backup.json" {
			continue
		}
		for at := gzipHeader; at < len(body); at += 1 + len(body)/31 {
			f := maps.Clone(whole)
			f[name] = bytes.Clone(body)
			f[name][at] ^= 1
			if summary, _ := run(t, f, "shop"); summary.Sound {
				t.Errorf("%s with a changed byte at %d is sound", name, at)
			}
		}
	}
}

func TestCutArchive(t *testing.T) {
	t.Parallel()
	for _, whole := range []folder{ours(t), fixture(t, "shop")} {
		backup := "b"
		if whole["shop.tar.gz"] != nil {
			backup = "shop"
		}
		body := whole[backup+".tar.gz"]
		cuts := []int{0, 1, 20, len(body) / 3, len(body) / 2, len(body) - 1}
		if index := whole[backup+"-index.json.gz"]; index != nil {
			gz, err := gzip.NewReader(bytes.NewReader(index))
			if err != nil {
				t.Fatal(err)
			}
			ix, err := archive.ReadIndex(gz)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ix.Members {
				cuts = append(cuts, int(m.Offset)) // exactly between two members
			}
		}
		for _, at := range cuts {
			f := maps.Clone(whole)
			f[backup+".tar.gz"] = body[:at]
			delete(f, "b-checksums.json")
			f["velero-backup.json"] = bytes.ReplaceAll(f["velero-backup.json"], []byte("kubectl-velero.io/checksums"), []byte("other"))
			delete(f, "b-index.json.gz")
			if summary, _ := run(t, f, backup); summary.Sound {
				t.Errorf("%s cut at %d of %d is sound", backup, at, len(body))
			}
		}
	}
}

// broken wants one broken object and a word about it.
func broken(t *testing.T, f folder, want string) {
	t.Helper()
	summary, lines := run(t, f, "b")
	if summary.Sound {
		t.Error("sound")
	}
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "broken") && strings.Contains(line, want) }) {
		t.Errorf("no finding with %q:\n%s", want, strings.Join(lines, "\n"))
	}
}

// TestWhatIsWrong seals each backup again: the checksums are right, the content
// isn't.
func TestWhatIsWrong(t *testing.T) {
	t.Parallel()
	n := len(objects())
	cases := map[string]struct {
		change func(t *testing.T, f folder)
		want   string
	}{
		"missing side file": {func(t *testing.T, f folder) { delete(f, "b-volumeinfo.json.gz") }, "b-volumeinfo.json.gz : it is missing"},
		"missing archive":   {func(t *testing.T, f folder) { delete(f, "b.tar.gz") }, "b.tar.gz : it is missing"},
		"extra object":      {func(t *testing.T, f folder) { f["b-csi-volumesnapshots.json.gz"] = zip(t, []byte("[]")) }, "it has no checksum"},
		"extra in a folder": {func(t *testing.T, f folder) { f["x/y"] = nil }, "x/y : it has no checksum"},
		"no marker":         {func(t *testing.T, f folder) { delete(f, "velero-backup.json") }, "no commit marker"},
		"no checksums":      {func(t *testing.T, f folder) { delete(f, "b-checksums.json") }, "though the commit marker names"},
		"torn": {func(t *testing.T, f folder) {
			f["velero-backup.json"] = bytes.Replace(f["velero-backup.json"], []byte("Completed"), []byte("InProgress"), 1)
		}, `its phase is "InProgress"`},
		"another's marker": {func(t *testing.T, f folder) {
			f["velero-backup.json"] = bytes.Replace(f["velero-backup.json"], []byte(`"name":"b"`), []byte(`"name":"c"`), 1)
		}, `not the Backup "b"`},
		"another's claim": {func(t *testing.T, f folder) { f["b-claim.json"] = []byte(`{"backupUID":"u2"}`); f.seal(t, n) }, "it claims the name"},
		"list lacks an object": {func(t *testing.T, f folder) {
			f["b-resource-list.json.gz"] = zip(t, bytes.Replace(unzip(t, f["b-resource-list.json.gz"]), []byte(`"shop/api",`), nil, 1))
			f.seal(t, n)
		}, "resources/deployments.apps/namespaces/shop/api.json: it is not in the resource list"},
		"list has another object": {func(t *testing.T, f folder) {
			f["b-resource-list.json.gz"] = zip(t, bytes.Replace(unzip(t, f["b-resource-list.json.gz"]), []byte(`"shop/api",`), []byte(`"shop/aaa","shop/api",`), 1))
			f.seal(t, n)
		}, `apps/v1/Deployment "shop/aaa" is in the resource list, but not in the archive`},
		"list of another shape": {func(t *testing.T, f folder) { f["b-resource-list.json.gz"] = zip(t, []byte("[]")); f.seal(t, n) }, "it doesn't decode"},
		"volumes of another shape": {func(t *testing.T, f folder) {
			f["b-volumeinfo.json.gz"] = zip(t, []byte(`[{"skipped":"yes"}]`))
			f.seal(t, n)
		}, "element 0: it doesn't decode"},
		"volumes not gzipped": {func(t *testing.T, f folder) { f["b-volumeinfo.json.gz"] = []byte(`[]`); f.seal(t, n) }, "it isn't gzipped"},
		"results and more":    {func(t *testing.T, f folder) { f["b-results.gz"] = zip(t, []byte(`{} {}`)); f.seal(t, n) }, "something follows its JSON"},
		"progress":            {func(t *testing.T, f folder) { f.seal(t, n+1) }, fmt.Sprintf("it holds %d objects; the commit marker says %d", n, n+1)},
		"coverage doesn't add up": {func(t *testing.T, f folder) {
			f["b-coverage.json.gz"] = zip(t, bytes.Replace(unzip(t, f["b-coverage.json.gz"]), []byte(`"listed":40`), []byte(`"listed":41`), 1))
			f.seal(t, n)
		}, "41 listed + 0 related - 0 skipped are not 40 stored"},
		"coverage counts otherwise": {func(t *testing.T, f folder) {
			f["b-coverage.json.gz"] = zip(t, bytes.ReplaceAll(unzip(t, f["b-coverage.json.gz"]), []byte(`:40`), []byte(`:39`)))
			f.seal(t, n)
		}, "it holds 40 objects of configmaps; the coverage says 39"},
		"index of names": {func(t *testing.T, f folder) {
			f["b-index.json.gz"] = zip(t, bytes.Replace(unzip(t, f["b-index.json.gz"]), []byte(`"last":"shop/web"`), []byte(`"last":"shop/wea"`), 1))
			f.seal(t, n)
		}, `from "shop/api" to "shop/web"; the index says`},
		"index of places": {func(t *testing.T, f folder) { shiftIndex(t, f); f.seal(t, n) }, "the index says"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := ours(t)
			c.change(t, f)
			broken(t, f, c.want)
		})
	}
}

// shiftIndex moves the border between the second and third member.
func shiftIndex(t *testing.T, f folder) {
	t.Helper()
	var ix archive.Index
	if err := json.Unmarshal(unzip(t, f["b-index.json.gz"]), &ix); err != nil {
		t.Fatal(err)
	}
	ix.Members[1].Length--
	ix.Members[2].Offset--
	ix.Members[2].Length++
	f["b-index.json.gz"] = zipJSON(t, ix)
}

func unzip(t testing.TB, packed []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

const (
	web     = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"namespace":"shop","name":"web"}}`
	webPath = "resources/deployments.apps/namespaces/shop/web.json"
	webTwin = "resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json"
)

var version = file("metadata/version", "1.1.0\n")

// findings verifies an archive by itself.
func findings(t *testing.T, packed []byte) (verify.Summary, string) {
	t.Helper()
	var lines []string
	summary, err := verify.Archive(t.Context(), bytes.NewReader(packed), "x.tar.gz", func(e verify.Event) error {
		if e.Finding != nil && e.Finding.Severity != verify.Unchecked {
			lines = append(lines, fmt.Sprintf("%s %s: %s", e.Finding.Severity, e.Finding.Path, e.Finding.Text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return summary, strings.Join(lines, "\n")
}

func TestArchives(t *testing.T) {
	t.Parallel()
	api := strings.Replace(web, `"web"`, `"api"`, 1)
	cases := map[string]struct {
		entries []entry
		want    string // empty for a sound one
	}{
		"sound":         {[]entry{version, file(webPath, web), file(webTwin, web)}, ""},
		"nothing in it": {[]entry{version}, ""},
		"format 1":      {[]entry{file("metadata/version", "1\n"), file(webPath, web)}, ""},
		"other version": {[]entry{version, file("resources/deployments.apps/v1/namespaces/shop/web.json", web)}, ""},
		"no version":    {[]entry{file(webPath, web), file(webTwin, web)}, "the first entry should be metadata/version"},
		"format 2":      {[]entry{file("metadata/version", "2\n")}, `format "2" is not known`},
		"version twice": {[]entry{version, version}, "it stands twice"},
		"object twice":  {[]entry{version, file(webPath, web), file(webTwin, web), file(webPath, web)}, "broken " + webPath + ": it stands twice"},
		"one copy":      {[]entry{version, file(webPath, web)}, "its second copy is missing"},
		"copies differ": {[]entry{version, file(webPath, web), file(webTwin, web+" ")}, "it differs from its copy"},
		"dot dot":       {[]entry{version, file("resources/../../etc/passwd", web)}, "is not safe"},
		"absolute":      {[]entry{version, file("/etc/passwd", web)}, "is not safe"},
		"symlink":       {[]entry{version, {tar.Header{Name: webPath, Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, ""}}, "the format has only files"},
		"device":        {[]entry{version, {tar.Header{Name: webPath, Typeflag: tar.TypeBlock}, ""}}, "the format has only files"},
		"swapped names": {[]entry{version, file(webPath, api), file(webTwin, api)}, `it holds Deployment "shop/api"`},
		"other group":   {[]entry{version, file(webPath, strings.Replace(web, "apps/v1", "v1", 1))}, `it holds a Deployment of group ""`},
		"other kind":    {[]entry{version, file(webPath, strings.Replace(web, "Deployment", "ReplicaSet", 1))}, "it holds a ReplicaSet"},
		"no kind":       {[]entry{version, file(webPath, `{"apiVersion":"apps/v1"}`)}, `its apiVersion is "apps/v1" and its kind ""`},
		"no JSON":       {[]entry{version, file(webPath, web[:40])}, "it isn't the JSON of an object"},
		"two values":    {[]entry{version, file(webPath, web+web)}, "it isn't the JSON of an object"},
		"an array":      {[]entry{version, file(webPath, "[]")}, "it isn't the JSON of an object"},
		"huge":          {[]entry{version, file(webPath, strings.Repeat(" ", archive.MaxObjectBytes+1))}, "more than an object may have"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			summary, lines := findings(t, pack(t, c.entries...))
			if summary.Sound != (c.want == "") || !strings.Contains(lines, c.want) || c.want == "" && lines != "" {
				t.Errorf("%+v, want %q:\n%s", summary, c.want, lines)
			}
		})
	}
}

// TestHarmlessDeviations are no fault in what others packed.
func TestHarmlessDeviations(t *testing.T) {
	t.Parallel()
	summary, lines := findings(t, pack(t, version, entry{tar.Header{Name: "resources/", Typeflag: tar.TypeDir}, ""}, file("notes/readme", "hi"),
		file(webPath, web), file(strings.Replace(webTwin, "v1", "v1beta1", 1), web)))
	want := "warning resources/: it is a folder; the format has only files\n" +
		"warning notes/readme: the format has no such path; a restore doesn't look at it\n" +
		`warning resources/deployments.apps/v1beta1-preferredversion/namespaces/shop/web.json: the object is of version "v1"`
	if !summary.Sound || lines != want {
		t.Errorf("%+v\n%s", summary, lines)
	}
}

// TestBombs unpack to a thousand times their size, in an entry and after the end.
// It measures memory, so nothing runs beside it.
func TestBombs(t *testing.T) {
	var before, after runtime.MemStats
	big := pack(t, version, entry{tar.Header{Name: webPath, Typeflag: tar.TypeReg, Mode: 0o755}, strings.Repeat("\x00", 80<<20)})
	tail := append(pack(t, version), zip(t, make([]byte, 8<<20))...)
	list := zip(t, []byte(`[`+strings.Repeat(" ", 1<<20)))
	runtime.GC()
	runtime.ReadMemStats(&before)
	if summary, lines := findings(t, big); summary.Sound || !strings.Contains(lines, "more than an object may have") {
		t.Errorf("entry: %s", lines)
	}
	if summary, lines := findings(t, tail); summary.Sound || !strings.Contains(lines, "follow the end of the tar") {
		t.Errorf("tail: %s", lines)
	}
	f := ours(t)
	f["b-itemoperations.json.gz"] = list
	f.seal(t, len(objects()))
	broken(t, f, "it doesn't decode")
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("took %d bytes", grown)
	}
}

type failing struct {
	folder
	name string
}

var errStore = errors.New("the store is away")

func (f failing) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	body, err := f.folder.Open(ctx, name, offset, length)
	if err == nil && name == f.name {
		return io.NopCloser(io.MultiReader(io.LimitReader(body, 30), errorReader{})), nil
	}
	return body, err
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errStore }

// TestStoreErrorsAreNoFindings: a store that breaks off says nothing about the
// backup.
func TestStoreErrorsAreNoFindings(t *testing.T) {
	t.Parallel()
	whole := ours(t)
	for name := range whole {
		summary, err := verify.Backup(t.Context(), failing{whole, name}, "b", func(verify.Event) error { return nil })
		if !errors.Is(err, errStore) || summary.Sound {
			t.Errorf("%s: %+v, %v", name, summary, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify.Backup(ctx, whole, "b", func(verify.Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	gone := errors.New("the client is gone")
	whole["b-logs.gz"] = nil
	if _, err := verify.Backup(t.Context(), whole, "b", func(verify.Event) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("client: %v", err)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	entries := []entry{version}
	for n := range 3000 {
		entries = append(entries, file(fmt.Sprintf("resources/pods/namespaces/shop/p%d.json", n), "{"))
	}
	count := 0
	summary, err := verify.Archive(t.Context(), bytes.NewReader(pack(t, entries...)), "x", func(e verify.Event) error {
		if e.Finding != nil {
			count++
		}
		return nil
	})
	if err != nil || summary.Broken != 3000 || count != 1001 {
		t.Errorf("%+v, %d told, %v", summary, count, err)
	}
}

// TestSeveralVersions is a backup that holds an object in all of its versions.
func TestSeveralVersions(t *testing.T) {
	t.Parallel()
	other := strings.Replace(web, "apps/v1", "apps/v1beta1", 1)
	otherPath := "resources/deployments.apps/v1beta1/namespaces/shop/web.json"
	for items, sound := range map[int]bool{1: true, 2: true, 3: false} {
		f := ours(t)
		f["b.tar.gz"] = pack(t, version, file(webPath, web), file(webTwin, web), file(otherPath, other))
		f["b-resource-list.json.gz"] = zipJSON(t, map[string][]string{"apps/v1/Deployment": {"shop/web"}, "apps/v1beta1/Deployment": {"shop/web"}})
		delete(f, "b-index.json.gz")
		f.seal(t, items)
		if summary, lines := run(t, f, "b"); summary.Sound != sound {
			t.Errorf("%d items: %s", items, strings.Join(lines, "\n"))
		}
	}
	f := ours(t)
	f["b.tar.gz"] = pack(t, version, file(webPath, web), file(webTwin, web), file(otherPath, other))
	f["b-resource-list.json.gz"] = zipJSON(t, map[string][]string{"apps/v1/Deployment": {"shop/web"}})
	delete(f, "b-index.json.gz")
	f.seal(t, 1)
	broken(t, f, otherPath+": it is not in the resource list")
}

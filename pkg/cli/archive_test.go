package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// fixtures is what Velero 1.18.0 wrote.
const fixtures = "../../testdata/fixtures/velero-1.18.0/"

// made is one object of an archive that is made up.
type made struct{ resource, apiVersion, kind, namespace, name, more string }

func (m made) body() []byte {
	namespace := ""
	if m.namespace != "" {
		namespace = fmt.Sprintf(`"namespace":%q,`, m.namespace)
	}
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"metadata":{%s"name":%q,"uid":%q}%s}`, m.apiVersion, m.kind, namespace, m.name, time.Now(), m.more)
}

// pack makes an archive and its index.
func pack(t *testing.T, objects ...made) ([]byte, *archive.Index) {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	for len(objects) > 0 {
		first, n := objects[0], 0
		for n < len(objects) && objects[n].resource == first.resource {
			n++
		}
		gv, err := schema.ParseGroupVersion(first.apiVersion)
		if err != nil {
			t.Fatal(err)
		}
		kind, err := w.Kind(schema.ParseGroupResource(first.resource), gv.Version, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects[:n] {
			if err := kind.Write(o.namespace, o.name, o.body()); err != nil {
				t.Fatal(err)
			}
		}
		if err := kind.Close(); err != nil {
			t.Fatal(err)
		}
		objects = objects[n:]
	}
	index, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), index
}

// source serves an archive as a bucket does, and counts what is read of it.
func source(f *Factory, packed []byte, index *archive.Index, sides map[string]any) (a *archiveSource, served *int64) {
	served = new(int64)
	return &archiveSource{
		what: `backup "b"`, index: index, seen: map[string]bool{}, warn: f.warn,
		read: func(_ context.Context, part archive.Range) (io.ReadCloser, error) {
			if part.Length <= 0 {
				part.Length = int64(len(packed)) - part.Offset
			}
			*served += part.Length
			return io.NopCloser(io.NewSectionReader(bytes.NewReader(packed), part.Offset, part.Length)), nil
		},
		side: func(_ context.Context, suffix string) (io.ReadCloser, error) {
			value, ok := sides[suffix]
			if !ok {
				return nil, fs.ErrNotExist
			}
			var out bytes.Buffer
			gz := gzip.NewWriter(&out)
			if err := json.NewEncoder(gz).Encode(value); err != nil {
				return nil, err
			}
			return io.NopCloser(&out), gz.Close()
		},
		close: func(context.Context) {},
	}, served
}

// crowd is many large ConfigMaps between some other objects.
func crowd() []made {
	objects := []made{{"namespaces", "v1", "Namespace", "", "shop", ""}, {"deployments.apps", "apps/v1", "Deployment", "shop", "web", ""}}
	for n := range 60 {
		objects = append(objects, made{"configmaps", "v1", "ConfigMap", "shop", fmt.Sprintf("c%02d", n), fmt.Sprintf(`,"data":{"k":%q}`, strings.Repeat(fmt.Sprintf("%d,", n*n), 20_000))})
	}
	return append(objects, made{"widgets.shop.example.com", "shop.example.com/v1", "Widget", "shop", "gear", ""})
}

// TestCatReadsARange asserts that one object out of many takes few bytes.
func TestCatReadsARange(t *testing.T) {
	t.Parallel()
	f, out, _ := testFactory()
	packed, index := pack(t, crowd()...)
	for text, most := range map[string]int{"shop/cm/c30": len(packed) / 5, "shop/deploy/web": len(packed) / 20, "shop/widget/gear": len(packed) / 20, "ns/shop": len(packed) / 20} {
		query, err := parseOne(text)
		if err != nil {
			t.Fatal(err)
		}
		a, served := source(f, packed, index, nil)
		out.Reset()
		if err := (&catFlags{format: "yaml"}).print(t.Context(), f, a, query); err != nil {
			t.Fatal(err)
		}
		name := text[strings.LastIndex(text, "/")+1:]
		if !strings.Contains(out.String(), "name: "+name+"\n") || *served == 0 || *served > int64(most) {
			t.Errorf("%s: %d of %d bytes were served:\n%.200s", text, *served, len(packed), out)
		}
	}
}

// TestSameWithAndWithoutIndex: the index changes what is read, not what is found.
func TestSameWithAndWithoutIndex(t *testing.T) {
	t.Parallel()
	f, _, errOut := testFactory()
	packed, index := pack(t, crowd()...)
	for _, text := range []string{"", "deploy", "shop/cm", "cm/c07", "shop/configmaps/c59", "widgets.shop.example.com", "elsewhere/cm", "pods", "ns"} {
		query, err := parseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		var found [2][]string
		for i, ix := range []*archive.Index{index, nil} {
			a, _ := source(f, packed, ix, nil)
			err := a.each(t.Context(), query, func(item archive.Item, _ identity) error {
				found[i] = append(found[i], itemName(item))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(found[1], found[0]); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
	if errOut.Len() > 0 {
		t.Error(errOut)
	}
}

// TestContentsFromTheList asserts that listing doesn't read the archive.
func TestContentsFromTheList(t *testing.T) {
	t.Parallel()
	f, _, _ := testFactory()
	list := map[string][]string{"apps/v1/Deployment": {"shop/web"}, "v1/Namespace": {"shop"}}
	a, served := source(f, nil, nil, map[string]any{resourceListSuffix: list})
	names, err := a.names(t.Context(), objectQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, n := range names {
		texts = append(texts, n.String())
	}
	if diff := cmp.Diff([]string{"shop/deployment/web", "namespace/shop"}, texts); diff != "" || *served > 0 {
		t.Errorf("%s, %d bytes served", diff, *served)
	}
}

func TestQueries(t *testing.T) {
	t.Parallel()
	web := archive.Item{Resource: schema.ParseGroupResource("deployments.apps"), Namespace: "shop", Name: "web"}
	view := archive.Item{Resource: schema.ParseGroupResource("clusterroles.rbac.authorization.k8s.io"), Name: "view"}
	fish := archive.Item{Resource: schema.ParseGroupResource("fishes.sea.example.com"), Namespace: "shop", Name: "f"}
	cases := map[string]struct {
		item archive.Item
		kind string
		want bool
	}{
		"":                                       {web, "Deployment", true},
		"deploy":                                 {web, "Deployment", true},
		"Deployment":                             {web, "", true},
		"deployments":                            {web, "", true},
		"deployments.apps":                       {web, "", true},
		"deployment.apps":                        {web, "", true},
		"deployments.extensions":                 {web, "", false},
		"pods":                                   {web, "", false},
		"shop/deploy":                            {web, "", true},
		"deploy/web":                             {web, "", true},
		"deploy/api":                             {web, "", false},
		"other/deploy":                           {web, "", false},
		"shop/deploy/web":                        {web, "", true},
		"shop/deploy/api":                        {web, "", false},
		"shop/clusterrole/view":                  {view, "", false},
		"clusterrole/view":                       {view, "", true},
		"clusterroles.rbac.authorization.k8s.io": {view, "", true},
		"fish":                                   {fish, "Fish", true},
		"fishes":                                 {fish, "", true},
		"f":                                      {fish, "Fish", false},
	}
	for text, c := range cases {
		q, err := parseQuery(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := q.selects(c.item.Resource, c.kind, c.item.Namespace, c.item.Name); got != c.want {
			t.Errorf("%q selects %s: %v", text, itemName(c.item), got)
		}
	}
	for _, text := range []string{"a/b/c/d", "/", "a//b", "/a"} {
		if _, err := parseQuery(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if _, err := parseOne("deploy"); err == nil {
		t.Error("a kind was taken for an object")
	}
}

// TestShortNamesAreThose of the kinds that kubectl knows.
func TestShortNamesAreKinds(t *testing.T) {
	t.Parallel()
	for short, long := range shortNames {
		if long != strings.ToLower(long) || len(short) >= len(long) || shortNames[long] != "" {
			t.Errorf("%s: %s", short, long)
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	names := []string{"deployments.apps", "daemonsets.apps", "pods", "poddisruptionbudgets.policy", "secrets", "services"}
	for word, want := range map[string][]string{
		"deploi": {"deployments.apps"}, "secret": {"secrets"}, "pod": {"pods", "poddisruptionbudgets.policy"}, "zzzzzzzzz": {},
	} {
		if diff := cmp.Diff(want, near(word, names)); diff != "" {
			t.Errorf("%s: %s", word, diff)
		}
	}
}

// execute runs the command line without a cluster.
func execute(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	f, stdout, stderr := testFactory()
	root := newRoot(f)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	PrintError(stderr, err)
	return stdout.String(), stderr.String(), ExitCode(err)
}

// TestFiles is what the commands print of archives on disk. It isn't parallel:
// it takes the kubeconfig away.
func TestFiles(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	shop, selected := fixtures+"shop/shop.tar.gz", fixtures+"shop-selected/shop-selected.tar.gz"
	cases := map[string]struct {
		args []string
		code int
	}{
		"contents":         {[]string{"contents", "--file", shop}, 0},
		"contents-wide":    {[]string{"contents", "--file", shop, "-o", "wide", "shop/svc"}, 0},
		"contents-name":    {[]string{"contents", "--file", shop, "-o", "name", "po"}, 0},
		"contents-yaml":    {[]string{"contents", "--file", shop, "-o", "yaml", "widgets"}, 0},
		"contents-none":    {[]string{"contents", "--file", shop, "csr"}, 0},
		"contents-unknown": {[]string{"contents", "--file", shop, "deploi"}, 1},
		"contents-missing": {[]string{"contents", "--file", shop, "shop/secret/bd"}, 1},
		"cat":              {[]string{"cat", "--file", shop, "shop/secret/db"}, 0},
		"cat-json":         {[]string{"cat", "--file", shop, "clusterrole/shop-reader", "-o", "json"}, 0},
		"cat-missing":      {[]string{"cat", "--file", shop, "deploy/web"}, 1},
		"cat-unknown":      {[]string{"cat", "--file", shop, "shop/servis/web"}, 1},
		"verify":           {[]string{"verify", "--file", shop}, 0},
		"verify-json":      {[]string{"verify", "--file", shop, "-o", "json"}, 0},
		"diff":             {[]string{"diff", "--file", selected, "--file", shop}, 1},
		"diff-same":        {[]string{"diff", "--file", shop, "--file", shop}, 0},
	}
	for name, c := range cases {
		out, errOut, code := execute(t, append([]string{"backup"}, c.args...)...)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d", name, code, c.code)
		}
		golden(t, "backup-"+name+".txt", out+"-- stderr --\n"+errOut)
	}
}

// TestUsage: what is typed wrong.
func TestFileUsage(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	cut := filepath.Join(t.TempDir(), "cut.tar.gz")
	whole, err := os.ReadFile(fixtures + "shop/shop.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"contents":                              {1, "the name of the backup is missing"},
		"contents b kind more":                  {1, "wrong number of arguments"},
		"contents b -o xml":                     {1, `output format "xml" is not known`},
		"contents b a/b/c/d":                    {1, "too many parts"},
		"contents b":                            {1, "no cluster"},
		"cat b":                                 {1, "wrong number of arguments"},
		"cat b deploy":                          {1, "names no object"},
		"cat b pod/x -o table":                  {1, `output format "table" is not known`},
		"verify --file none.tar.gz":             {1, "no such file"},
		"verify --file .":                       {1, "is a directory"},
		"verify b extra":                        {1, "wrong number of arguments"},
		"verify b -o yaml":                      {1, `output format "yaml" is not known`},
		"verify --file " + cut:                  {3, "is broken: 1 finding"},
		"contents --file " + cut:                {1, "unexpected EOF"},
		"contents --file .":                     {1, "is no file"},
		"download":                              {1, "the name of the backup is missing"},
		"diff a":                                {2, "diff takes two backups"},
		"diff a b --live":                       {2, "diff takes two backups"},
		"diff a b --flie x":                     {2, "unknown flag"},
		"diff --file none --file none":          {2, "no such file"},
		"diff a b":                              {2, "no cluster"},
		"diff --file " + cut + " --file " + cut: {2, "unexpected EOF"},
	} {
		_, errOut, code := execute(t, append([]string{"backup"}, strings.Fields(line)...)...)
		if code != want.code || !strings.Contains(errOut, want.text) {
			t.Errorf("%s: exit code %d\n%s", line, code, errOut)
		}
	}
}

// TestHostileArchive: what can't be read is told, and the rest is read.
func TestHostileArchive(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	good := made{"pods", "v1", "Pod", "shop", "p", ""}.body()
	for _, e := range []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Name: "metadata/version", Typeflag: tar.TypeReg}, []byte("1.1.0\n")},
		{tar.Header{Name: "resources/pods/namespaces/shop/../../x.json", Typeflag: tar.TypeReg}, good},
		{tar.Header{Name: "resources/pods/namespaces/shop/l.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, nil},
		{tar.Header{Name: "resources/pods/namespaces/shop/p.json", Typeflag: tar.TypeReg}, good},
	} {
		e.header.Size = int64(len(e.body))
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.body); err != nil && len(e.body) > 0 {
			t.Fatal(err)
		}
	}
	for _, c := range []io.Closer{w, gz} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f, _, errOut := testFactory()
	a, _ := source(f, out.Bytes(), nil, nil)
	var found []string
	err := a.each(t.Context(), objectQuery{}, func(item archive.Item, _ identity) error {
		found = append(found, itemName(item))
		return nil
	})
	if err != nil || !slices.Equal(found, []string{"shop/pods/p"}) || strings.Count(errOut.String(), "warning: ") != 2 {
		t.Errorf("%q, %v\n%s", found, err, errOut)
	}
}

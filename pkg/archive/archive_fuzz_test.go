package archive_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// jsonOf is an object whose JSON has about size bytes, with characters of one
// to four bytes and some that JSON escapes.
func jsonOf(t testing.TB, random *rand.Rand, size int) []byte {
	t.Helper()
	const letters = "abcXYZ 019<>&\"\\\n\t\u2028äß漢字🜚\x7f"
	runes := []rune(letters)
	var text strings.Builder
	for text.Len() < size {
		text.WriteRune(runes[random.IntN(len(runes))])
	}
	body, err := json.Marshal(map[string]string{"text": text.String()})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// roundTrip writes items of several kinds and reads them back whole, and each
// by itself through the index.
func roundTrip(t testing.TB, items []archive.Item) {
	t.Helper()
	var out bytes.Buffer
	w, err := archive.NewWriter(&out, modTime)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[schema.GroupResource]*archive.Kind{}
	for _, i := range items {
		if kinds[i.Resource] == nil {
			if kinds[i.Resource], err = w.Kind(i.Resource, i.Version, i.Preferred); err != nil {
				t.Fatal(err)
			}
		}
		if err := kinds[i.Resource].Write(i.Namespace, i.Name, i.Body); err != nil {
			t.Fatalf("write %s %s/%s: %v", i.Resource, i.Namespace, i.Name, err)
		}
	}
	for _, kind := range kinds {
		if err := kind.Close(); err != nil {
			t.Fatal(err)
		}
	}
	index, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if index.Size != int64(out.Len()) {
		t.Fatalf("the index says %d bytes, there are %d", index.Size, out.Len())
	}
	want := map[string]string{}
	for _, i := range items {
		want[key(i)] = string(i.Body)
	}
	got := bodies(t, out.Bytes())
	if len(got) != len(want) {
		t.Fatalf("%d of %d objects come back", len(got), len(want))
	}
	for name, body := range want {
		if got[name] != body {
			t.Fatalf("%s comes back with %d of %d bytes", name, len(got[name]), len(body))
		}
	}
	for _, i := range items {
		if !slices.ContainsFunc(index.Find(i.Resource.String(), i.Namespace, i.Name), func(m archive.Member) bool {
			body, ok := bodies(t, out.Bytes()[m.Offset:m.Offset+m.Length])[key(i)]
			return ok && body == string(i.Body)
		}) {
			t.Fatalf("%s isn't in the members that the index names", key(i))
		}
	}
}

func key(i archive.Item) string { return fmt.Sprintf("%s %s/%s", i.Resource, i.Namespace, i.Name) }

// bodies reads an archive, or some of its members.
func bodies(t testing.TB, data []byte) map[string]string {
	t.Helper()
	r, err := archive.NewPartReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for {
		i, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[key(i)] = string(i.Body)
	}
}

func TestRoundTripOfNames(t *testing.T) {
	t.Parallel()
	roles := schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "roles"}
	var items []archive.Item
	for n, name := range []string{
		"a", "system:foo", "system:controller:horizontal-pod-autoscaler", "a b", "ünïcode", "漢字", "x.json", "cluster", "namespaces", "v1-preferredversion",
		"a=b,c", "~", "-", "...", strings.Repeat("n", 100), strings.Repeat("n", 253), "resources",
	} {
		body := []byte(fmt.Sprintf(`{"n":%d}`, n))
		items = append(items,
			archive.Item{Resource: roles, Version: "v1", Preferred: true, Namespace: "shop", Name: name, Body: body},
			archive.Item{Resource: roles, Version: "v1", Preferred: true, Namespace: "namespaces", Name: name, Body: body},
			archive.Item{Resource: schema.GroupResource{Group: roles.Group, Resource: "clusterroles"}, Version: "v1", Preferred: true, Name: name, Body: body},
		)
	}
	roundTrip(t, items)
}

func TestRoundTripOfSizes(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var items []archive.Item
	for _, size := range []int{0, 1, 500, 511, 512, 513, 1023, 1024, 1025, 4096, 100_000, 512<<10 - 1, 512 << 10, 512<<10 + 1, 1 << 20, 2 << 20} {
		items = append(items, archive.Item{
			Resource: schema.GroupResource{Resource: "configmaps"}, Version: "v1", Preferred: true, Namespace: "shop", Name: fmt.Sprintf("size-%d", size), Body: jsonOf(t, random, size),
		})
	}
	items = append(items, archive.Item{Resource: schema.GroupResource{Resource: "pods"}, Version: "v1", Preferred: true, Namespace: "shop", Name: "empty", Body: []byte{}})
	roundTrip(t, items)
}

// Names of any kind either are refused or come back.
func FuzzRoundTrip(f *testing.F) {
	f.Add("shop", "system:foo", []byte(`{"a":"ä"}`), uint64(1), uint32(2000))
	f.Add("", "x", []byte{}, uint64(2), uint32(2<<20))
	f.Add("shop", "../../etc/passwd", []byte("{}"), uint64(3), uint32(0))
	f.Add("a/b", "c\x00d", []byte("{}"), uint64(4), uint32(512<<10))
	f.Fuzz(func(t *testing.T, namespace, name string, body []byte, seed uint64, size uint32) {
		gr := schema.GroupResource{Group: "rbac.authorization.k8s.io", Resource: "roles"}
		w, err := archive.NewWriter(io.Discard, modTime)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Abort()
		kind, err := w.Kind(gr, "v1", true)
		if err != nil {
			t.Fatal(err)
		}
		var refused *archive.ItemError
		if err := kind.Write(namespace, name, body); errors.As(err, &refused) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(namespace+name, "/\\\x00") || name == ".." || namespace == ".." {
			t.Fatalf("%q/%q was accepted", namespace, name)
		}
		random := rand.New(rand.NewPCG(seed, 0))
		items := []archive.Item{{Resource: gr, Version: "v1", Preferred: true, Namespace: namespace, Name: name, Body: body}}
		for n := range random.IntN(20) {
			items = append(items, archive.Item{
				Resource: schema.GroupResource{Resource: fmt.Sprintf("kind%ds", n%3)}, Version: "v1", Preferred: true,
				Namespace: "shop", Name: fmt.Sprint(n), Body: jsonOf(t, random, random.IntN(int(size%(2<<20))+1)),
			})
		}
		roundTrip(t, items)
	})
}

// An index that is read has no gaps, and says nothing about bytes that the
// archive doesn't have.
func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"formatVersion":"1.1.0","size":30,"members":[{"offset":0,"length":10,"plain":5},{"resource":"pods","offset":10,"length":20,"plain":50,"first":"a","last":"b"}]}`))
	f.Add([]byte(`{"size":9223372036854775807,"members":[{"offset":0,"length":9223372036854775807},{"offset":9223372036854775807,"length":1}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := archive.ReadIndex(bytes.NewReader(data))
		if err != nil {
			return
		}
		want := []archive.Range{{Offset: 0, Length: index.Size}}
		if len(index.Members) == 0 {
			want = nil
		}
		if diff := cmp.Diff(want, index.Select(func(archive.Member) bool { return true })); diff != "" {
			t.Errorf("all members (-want +got):\n%s", diff)
		}
		index.Find("pods", "shop", "web")
	})
}

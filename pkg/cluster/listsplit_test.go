package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var configMaps = Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, Kind: "ConfigMap", Namespaced: true}

// configMapPage is a page of ConfigMaps of about 2 KiB as an API server sends
// it.
func configMapPage(n int) []byte {
	text := strings.Repeat("some = line of a configuration\\n", 60)
	var page bytes.Buffer
	page.WriteString(`{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[`)
	for i := range n {
		if i > 0 {
			page.WriteByte(',')
		}
		fmt.Fprintf(&page, `{"metadata":{"name":"config-%06d","namespace":"shop-%d","uid":"5b3d0c0e-3b0b-4a0e-9d3a-%012d","resourceVersion":"%d",`+
			`"creationTimestamp":"2026-01-02T03:04:05Z","labels":{"app":"web","tier":"front"},"managedFields":[{"manager":"kubectl","operation":"Update",`+
			`"apiVersion":"v1","time":"2026-01-02T03:04:05Z","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:a":{}}}}]},"data":{"a":"%s"}}`,
			i, i/100, i, i, text)
	}
	page.WriteString("]}\n")
	return page.Bytes()
}

// splitPage takes a page apart and parses each object's header.
func splitPage(s *splitter, h *headers, body io.Reader, visit func(Object)) error {
	return s.list(body, func(metav1.ListMeta) {}, func(raw []byte) error {
		obj, err := h.parse(raw)
		if err == nil && visit != nil {
			visit(obj)
		}
		return err
	})
}

func BenchmarkSplit(b *testing.B) {
	page := configMapPage(pageSize)
	b.Run("headers", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		s, h := newSplitter(maxObject), newHeaders(configMaps)
		for b.Loop() {
			if err := splitPage(s, h, bytes.NewReader(page), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bytes", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		s := newSplitter(maxObject)
		for b.Loop() {
			if err := s.list(bytes.NewReader(page), func(metav1.ListMeta) {}, func([]byte) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(page)))
		b.ReportAllocs()
		for b.Loop() {
			var list struct{ Items []json.RawMessage }
			if err := json.Unmarshal(page, &list); err != nil {
				b.Fatal(err)
			}
			for _, item := range list.Items {
				var meta metav1.PartialObjectMetadata
				if err := json.Unmarshal(item, &meta); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	raw := []byte(`{"metadata":{"name":"a"},"data":{"a":"` + strings.Repeat("x", 2000) + `"}}`)
	obj, err := newHeaders(configMaps).parse(raw)
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		dst = obj.AppendJSON(dst[:0])
	}
}

func TestSplitHoldsNoPage(t *testing.T) {
	page := configMapPage(pageSize)
	s, h := newSplitter(maxObject), newHeaders(configMaps)
	allocated := testing.AllocsPerRun(10, func() {
		if err := splitPage(s, h, bytes.NewReader(page), nil); err != nil {
			t.Fatal(err)
		}
	})
	// Name, UID and labels of each object, and a little for the page.
	if perObject := allocated / pageSize; perObject > 5 {
		t.Errorf("%.2f allocations per object", perObject)
	}
}

func TestSplitLargeObjects(t *testing.T) {
	t.Parallel()
	large := `{"metadata":{"name":"large"},"data":{"a":"` + strings.Repeat("x", 3<<19) + `"}}`
	page := `{"metadata":{},"items":[` + large + `,{"metadata":{"name":"small"}},` + large + `]}`
	sizes := []int{}
	err := splitPage(newSplitter(maxObject), newHeaders(configMaps), strings.NewReader(page), func(o Object) { sizes = append(sizes, len(o.Raw)) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{len(large), 29, len(large)}, sizes); diff != "" {
		t.Errorf("sizes (-want +got):\n%s", diff)
	}
}

func TestSplitRefusesTooLargeObjects(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(strings.NewReader(`{"metadata":{},"items":[{"metadata":{"name":"`), forever('x'))
	if err := splitPage(newSplitter(1<<20), newHeaders(configMaps), endless, nil); !errors.Is(err, errTooLarge) || passes(err) {
		t.Errorf("an endless object: %v", err)
	}
	many := strings.Repeat(`{"metadata":{"name":"`+strings.Repeat("x", 1000)+`"}},`, 3000)
	page := `{"items":[` + strings.TrimSuffix(many, ",") + `]}`
	if err := splitPage(newSplitter(1<<20), newHeaders(configMaps), strings.NewReader(page), nil); err != nil {
		t.Errorf("many objects that are larger together: %v", err)
	}
}

// forever is a reader of one byte.
type forever byte

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

func TestSplitRefusesWhatIsNoList(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty":               ``,
		"text":                `upstream connect error`,
		"array":               `[]`,
		"status":              `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure"}`,
		"number":              `{"items":7}`,
		"cut":                 `{"items":[{"metadata":{}}`,
		"cut behind items":    `{"items":[{"metadata":{}}]`,
		"error in the middle": `{"items":[{"metadata":{"na{"kind":"Status","status":"Failure"}`,
		"error behind item":   `{"items":[{"metadata":{}}{"kind":"Status","status":"Failure"}`,
		"error behind end":    `{"items":[{"metadata":{}}]}{"kind":"Status","status":"Failure"}`,
		"item is text":        `{"items":["a"]}`,
		"item is null":        `{"items":[null]}`,
		"same name twice":     `{"items":[{"metadata":{"name":"a","name":"b"}}]}`,
		"no UTF-8":            "{\"items\":[{\"metadata\":{\"name\":\"\xff\"}}]}",
		"name is a number":    `{"items":[{"metadata":{"name":1}}]}`,
		"label is a number":   `{"items":[{"metadata":{"labels":{"a":1}}}]}`,
		"metadata is a list":  `{"items":[{"metadata":[]}]}`,
		"kind is a number":    `{"items":[{"kind":1}]}`,
		"list metadata":       `{"metadata":{"continue":1},"items":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, body := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body))} {
				if err := splitPage(newSplitter(maxObject), newHeaders(configMaps), body, nil); err == nil {
					t.Error("no error")
				}
			}
		})
	}
}

func TestSplitReadsAnyList(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		want int
	}{
		"null":                {`{"items":null}`, 0},
		"none":                {`{"metadata":{},"items":[]}`, 0},
		"metadata behind":     {`{"items":[{"metadata":{"name":"a"}}],"metadata":{"continue":"x"}}`, 1},
		"unknown fields":      {`{"extra":{"items":[1]},"items":[{}],"more":[{}]}`, 1},
		"pretty":              {"{\n  \"items\": [\n    { \"metadata\" : null },\n    {}\n  ]\n}\n", 2},
		"escaped field names": {`{"\u0069tems":[{"metadata":{}}]}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := 0
			err := splitPage(newSplitter(maxObject), newHeaders(configMaps), iotest.HalfReader(strings.NewReader(c.body)), func(Object) { got++ })
			if err != nil || got != c.want {
				t.Errorf("%d objects, want %d, error %v", got, c.want, err)
			}
		})
	}
}

func FuzzSplit(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"a","namespace":"b","uid":"c","labels":{"d":"e","\u0066":"\""},"deletionTimestamp":"2026-01-02T03:04:05Z"},"data":{"x":[1,-2.5e3,true,false,null,"\\",{}]}}`,
		`{"apiVersion":"shop/v1","kind":"Order","metadata":{"labels":null},"spec":{}}`,
		`{"kind":"","apiVersion":null,"metadata":{}}`,
		" {\n \"kind\" :\t\"\" , \"metadata\":{ } } ", `{}`, `{"kind":"x"}`, `[]`, `{"metadata":{"name":"\\\\\""}}`, `{"a":1`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		var got []Object
		var archived []byte
		body := append(append([]byte(`{"items":[`), item...), `]}`...)
		err := splitPage(newSplitter(maxObject), newHeaders(configMaps), bytes.NewReader(body), func(o Object) {
			archived = o.AppendJSON(nil)
			o.Raw = bytes.Clone(o.Raw)
			got = append(got, o)
		})
		want, wellFormed := wantObject(body)
		if err != nil {
			if wellFormed {
				t.Fatalf("valid, but: %v", err)
			}
			return
		}
		if !json.Valid(body) || !utf8.Valid(body) {
			t.Fatal("accepted what is no JSON")
		}
		if !wellFormed || len(got) != 1 {
			return // an empty item or several
		}
		want.compare(t, got[0], archived)
	})
}

// wanted is an object as encoding/json reads it.
type wanted struct {
	apiVersion, kind, name, namespace, uid string
	labels                                 map[string]string
	deleting                               bool
	fields                                 map[string]json.RawMessage
}

// wantObject returns the only item of a list, when it is an object that must be
// accepted: its fields have the right types and no name is there twice.
func wantObject(body []byte) (wanted, bool) {
	var list map[string][]map[string]json.RawMessage
	if !utf8.Valid(body) || json.Unmarshal(body, &list) != nil || len(list["items"]) != 1 || list["items"][0] == nil || hasTwins(body) {
		return wanted{}, false
	}
	w := wanted{fields: list["items"][0]}
	meta := map[string]json.RawMessage{}
	deleted := ""
	ok := decodes(w.fields["metadata"], &meta) && decodes(w.fields["apiVersion"], &w.apiVersion) && decodes(w.fields["kind"], &w.kind) &&
		decodes(meta["name"], &w.name) && decodes(meta["namespace"], &w.namespace) && decodes(meta["uid"], &w.uid) &&
		decodes(meta["labels"], &w.labels) && decodes(meta["deletionTimestamp"], &deleted)
	w.deleting = deleted != ""
	return w, ok
}

func decodes(raw json.RawMessage, into any) bool {
	return raw == nil || json.Unmarshal(raw, into) == nil
}

// hasTwins reports whether an object has two members of the same name; one more
// decoding pass, by tokens, tells.
func hasTwins(body []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(body))
	var names []map[string]bool // nil for an array
	key := false
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		top := len(names) - 1
		switch token {
		case json.Delim('{'):
			names, key = append(names, map[string]bool{}), true
			continue
		case json.Delim('['):
			names, key = append(names, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			names = names[:top]
			key = top > 0 && names[top-1] != nil
			continue
		}
		if top < 0 || names[top] == nil {
			continue
		}
		if name, _ := token.(string); key {
			if names[top][name] {
				return true
			}
			names[top][name] = true
		}
		key = !key
	}
}

func (w wanted) compare(t *testing.T, got Object, archived []byte) {
	t.Helper()
	var filled map[string]json.RawMessage
	if err := json.Unmarshal(archived, &filled); err != nil || hasTwins(archived) {
		t.Fatalf("archived as %q: %v", archived, err)
	}
	if w.apiVersion == "" {
		w.apiVersion = "v1"
	}
	if w.kind == "" {
		w.kind = "ConfigMap"
	}
	if len(w.labels) == 0 {
		w.labels = nil
	}
	have := wanted{got.APIVersion, got.Kind, got.Name, got.Namespace, got.UID, got.Labels, got.Deleting, filled}
	var kind, apiVersion string
	if !decodes(filled["kind"], &kind) || !decodes(filled["apiVersion"], &apiVersion) || kind != w.kind || apiVersion != w.apiVersion {
		t.Errorf("archived as %q", archived)
	}
	w.fields["kind"], w.fields["apiVersion"] = filled["kind"], filled["apiVersion"]
	if diff := cmp.Diff(w, have, cmp.AllowUnexported(wanted{})); diff != "" {
		t.Errorf("object (-encoding/json +ours):\n%s", diff)
	}
}

//go:build e2e

package tests

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// checkFormat compares what a backup of the application wrote with Velero's
// format: keys, tar, JSON, and the same application as Velero backed it up.
func checkFormat(t *testing.T, s *session, name string) {
	s = s.sub(t)
	t.Run("keys", func(t *testing.T) { checkKeys(t, s.sub(t), name) })
	entries := readTar(t, s.object("backups/"+name+"/"+name+".tar.gz"))
	t.Run("tar", func(t *testing.T) { checkTar(t, entries) })
	t.Run("tar like Velero's", func(t *testing.T) { checkLikeVelero(t, s.sub(t), entries) })
	t.Run("marker", func(t *testing.T) { checkMarker(t, s.sub(t), name, entries) })
	t.Run("resource list", func(t *testing.T) { checkResourceList(t, s.sub(t), name, entries) })
	t.Run("side files", func(t *testing.T) { checkSideFiles(t, s.sub(t), name) })
}

func checkKeys(t *testing.T, s *session, name string) {
	want := []string{"velero-backup.json"}
	for _, suffix := range []string{"-claim.json", "-index.json.gz", "-coverage.json.gz", "-checksums.json"} {
		want = append(want, name+suffix) // these are ours
	}
	for _, suffix := range []string{
		".tar.gz", "-logs.gz", "-podvolumebackups.json.gz", "-volumesnapshots.json.gz",
		"-resource-list.json.gz", "-results.gz", "-itemoperations.json.gz", "-volumeinfo.json.gz",
	} {
		want = append(want, name+suffix)
	}
	slices.Sort(want)
	var got []string
	for _, key := range s.keys("backups/" + name + "/") {
		got = append(got, strings.TrimPrefix(key, "backups/"+name+"/"))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	// Another folder at the top would make a Velero server refuse the bucket; three
	// are other locations' prefixes.
	known := regexp.MustCompile(`^(backups|restores|` + fixturePrefix + `|` + gatePrefix + `|` + otherPrefix + `)/`)
	for _, key := range s.keys("") {
		if !known.MatchString(key) {
			t.Errorf("key %q is outside Velero's folders", key)
		}
	}
}

// entry is one file of a tar.
type entry struct {
	header *tar.Header
	body   []byte
}

func readTar(t *testing.T, packed []byte) []entry {
	t.Helper()
	// object has unpacked the outer gzip; a tar never starts with its magic.
	if bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		reader, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if packed, err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
	var entries []entry
	for reader := tar.NewReader(bytes.NewReader(packed)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{header, body})
	}
}

var itemPath = regexp.MustCompile(`^resources/([^/]+)/(?:(v[^/]+)-preferredversion/)?(cluster|namespaces/[^/]+)/([^/]+)\.json$`)

func checkTar(t *testing.T, entries []entry) {
	if len(entries) == 0 || entries[0].header.Name != "metadata/version" || string(entries[0].body) != "1.1.0\n" {
		t.Fatal("the first entry isn't metadata/version with 1.1.0")
	}
	bodies := map[string][]byte{}
	for _, e := range entries[1:] {
		if e.header.Typeflag != tar.TypeReg || e.header.Mode != 0o755 || e.header.ModTime.IsZero() {
			t.Errorf("%s: type %c, mode %o, time %s", e.header.Name, e.header.Typeflag, e.header.Mode, e.header.ModTime)
		}
		if !itemPath.MatchString(e.header.Name) {
			t.Errorf("path %q isn't one of the format", e.header.Name)
		}
		if bodies[e.header.Name] != nil {
			t.Errorf("path %q is there twice", e.header.Name)
		}
		bodies[e.header.Name] = e.body
	}
	for path, body := range bodies {
		checkItem(t, path, body, bodies)
	}
}

// checkItem wants each object at its path and, the same bytes, at that of its
// preferred version, as compact JSON that agrees with the path.
func checkItem(t *testing.T, path string, body []byte, bodies map[string][]byte) {
	match := itemPath.FindStringSubmatch(path)
	if match == nil {
		return
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, object); err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil || !bytes.Equal(compact.Bytes(), body) {
		t.Errorf("%s: isn't compact JSON", path)
	}
	scope := "cluster"
	if object.GetNamespace() != "" {
		scope = "namespaces/" + object.GetNamespace()
	}
	if object.GetName() != match[4] || scope != match[3] || object.GetKind() == "" {
		t.Errorf("%s holds %s %s/%s", path, object.GetKind(), object.GetNamespace(), object.GetName())
	}
	if match[2] != "" {
		return
	}
	version := object.GroupVersionKind().Version
	twin := "resources/" + match[1] + "/" + version + "-preferredversion/" + match[3] + "/" + match[4] + ".json"
	if !bytes.Equal(bodies[twin], body) {
		t.Errorf("%s isn't the same as %s", path, twin)
	}
}

// generated are resources whose names no two runs share.
var generated = regexp.MustCompile(`^resources/(pods|events|endpointslices\.discovery\.k8s\.io|replicasets\.apps|controllerrevisions\.apps)/`)

// checkLikeVelero wants the paths that Velero wrote for the same application.
func checkLikeVelero(t *testing.T, s *session, ours []entry) {
	file, err := os.ReadFile(s.tree.Path(fixture, "shop", "shop.tar.gz"))
	s.check(err)
	if diff := cmp.Diff(stablePaths(readTar(t, file)), stablePaths(ours), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("paths (-Velero +ours):\n%s", diff)
	}
}

// stablePaths are the paths of a tar, those with generated names down to their
// folder.
func stablePaths(entries []entry) []string {
	paths := map[string]bool{}
	for _, e := range entries {
		path := e.header.Name
		if generated.MatchString(path) {
			path = path[:strings.LastIndexByte(path, '/')+1]
		}
		paths[path] = true
	}
	return slices.Sorted(maps.Keys(paths))
}

func checkMarker(t *testing.T, s *session, name string, entries []entry) {
	var marker struct {
		Kind, APIVersion string
		Metadata         struct{ Name, Namespace, UID string }
		Spec             struct{ IncludedNamespaces []string }
		Status           struct {
			Version                                                               int
			FormatVersion, Phase, Expiration, StartTimestamp, CompletionTimestamp string
			Errors                                                                int
			Progress                                                              struct{ TotalItems, ItemsBackedUp int }
		}
	}
	s.decode("backups/"+name+"/velero-backup.json", &marker)
	if marker.Kind != "Backup" || marker.APIVersion != "velero.io/v1" || marker.Metadata.Name != name || marker.Metadata.UID == "" {
		t.Errorf("identity %s %s %+v", marker.APIVersion, marker.Kind, marker.Metadata)
	}
	status := marker.Status
	if status.Version != 1 || status.FormatVersion != "1.1.0" || status.Phase != "Completed" || status.Errors != 0 {
		t.Errorf("status %+v", status)
	}
	second := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	for _, stamp := range []string{status.Expiration, status.StartTimestamp, status.CompletionTimestamp} {
		if !second.MatchString(stamp) {
			t.Errorf("time %q isn't RFC3339 UTC in seconds", stamp)
		}
	}
	items := (len(entries) - 1) / 2
	if status.Progress.TotalItems != items || status.Progress.ItemsBackedUp != items {
		t.Errorf("progress %+v, the archive has %d items", status.Progress, items)
	}
}

// checkResourceList wants exactly the objects of the archive.
func checkResourceList(t *testing.T, s *session, name string, entries []entry) {
	want := map[string][]string{}
	for _, e := range entries {
		match := itemPath.FindStringSubmatch(e.header.Name)
		if match == nil || match[2] != "" {
			continue
		}
		object := &unstructured.Unstructured{}
		s.check(json.Unmarshal(e.body, object))
		item := object.GetName()
		if object.GetNamespace() != "" {
			item = object.GetNamespace() + "/" + item
		}
		key := object.GetAPIVersion() + "/" + object.GetKind()
		want[key] = append(want[key], item)
	}
	for key := range want {
		slices.Sort(want[key])
	}
	var got map[string][]string
	s.decode("backups/"+name+"/"+name+"-resource-list.json.gz", &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resource list (-archive +list):\n%s", diff)
	}
}

func checkSideFiles(t *testing.T, s *session, name string) {
	folder := "backups/" + name + "/" + name
	type result struct {
		Velero, Cluster []string
		Namespaces      map[string][]string
	}
	var results map[string]result
	s.decode(folder+"-results.gz", &results)
	if keys := slices.Sorted(maps.Keys(results)); !slices.Equal(keys, []string{"errors", "warnings"}) {
		t.Errorf("results have keys %q", keys)
	}
	if diff := cmp.Diff(result{}, results["errors"], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("errors:\n%s", diff)
	}
	for _, suffix := range []string{"-podvolumebackups", "-volumesnapshots", "-itemoperations"} {
		var list []json.RawMessage
		s.decode(folder+suffix+".json.gz", &list)
		if len(list) > 0 {
			t.Errorf("%s holds %d entries", suffix, len(list))
		}
	}
	var volumes []struct {
		PVName, PVCName, PVCNamespace string
		Skipped                       bool
		SkippedReason                 string
	}
	s.decode(folder+"-volumeinfo.json.gz", &volumes)
	if len(volumes) != 1 || volumes[0].PVName != "shop-data" || volumes[0].PVCName != "data" || !volumes[0].Skipped || volumes[0].SkippedReason == "" {
		t.Errorf("volume info %+v", volumes)
	}
	log := regexp.MustCompile(`^time="[^"]+" level=\w+ msg=`)
	lines := strings.Split(strings.TrimSpace(string(s.object(folder+"-logs.gz"))), "\n")
	for _, line := range lines {
		if !log.MatchString(line) {
			t.Errorf("log line %q", line)
		}
	}
}

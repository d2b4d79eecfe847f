package gcepd

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/compute/v1"
)

var validName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

func TestSnapshotName(t *testing.T) {
	t.Parallel()
	const uid = "0f0e0d0c-1111-2222-3333-444455556666"
	filter := regexp.MustCompile("^(" + strings.TrimSuffix(strings.TrimPrefix(ownedBy(uid), `name eq "`), `"`) + ")$")
	seen := map[string]bool{}
	for _, disk := range []string{"d", "pvc-71bfbd3a-5f0a-43c2-8e5f-33a3a3a3a3a3", "gke-cluster-1-pvc-71bfbd3a-5f0a-43c2-8e5f-33a3a3a3a3a3", "cut-right-here-at-26-chars--x"} {
		for _, at := range []string{"p/zones/a", "p/zones/b"} {
			name := snapshotName(uid, disk, at)
			if !validName.MatchString(name) || !filter.MatchString(name) || seen[name] || name != snapshotName(uid, disk, at) {
				t.Errorf("disk %q: name %q", disk, name)
			}
			if filter.MatchString(snapshotName("another", disk, at)) {
				t.Errorf("disk %q: the filter takes another backup's", disk)
			}
			seen[name] = true
		}
	}
}

func TestRestoredName(t *testing.T) {
	t.Parallel()
	if got := restoredName(testToken); got != "restore-"+testToken {
		t.Errorf("name %q", got)
	}
	for _, token := range []string{"1", strings.Repeat("a-", 32), strings.ToUpper(testToken)} {
		if got := restoredName(token); !validName.MatchString(got) || got != restoredName(token) {
			t.Errorf("name %q of token %q", got, token)
		}
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	many := map[string]string{}
	for i := range 40 {
		many[fmt.Sprintf("label-%d", i)] = strings.Repeat("v", 50)
	}
	r := requestFor("d", testZone)
	crowded := r
	crowded.Tags = maps.Clone(many)
	maps.Copy(crowded.Tags, r.Tags)
	for _, test := range []struct {
		name string
		disk compute.Disk
		tags map[string]string
		want []string
	}{
		{"plain", compute.Disk{}, r.Tags, []string{ownerKey, "team", "velero.io/backup", "velero.io/pv"}},
		{"a person's", compute.Disk{Description: "do not delete"}, r.Tags, []string{ownerKey, "team", "velero.io/backup", "velero.io/pv"}},
		{"the disk's", compute.Disk{Description: `{"kubernetes.io/created-for/pvc/name":"c","velero.io/backup":"old"}`}, r.Tags,
			[]string{ownerKey, "kubernetes.io/created-for/pvc/name", "team", "velero.io/backup", "velero.io/pv"}},
		{"ours of before", compute.Disk{Description: `{"kubectl-velero.io/disk-throughput":"7"}`}, r.Tags, []string{ownerKey, "team", "velero.io/backup", "velero.io/pv"}},
		{"fast", compute.Disk{ProvisionedThroughput: 300, AccessMode: "READ_WRITE_MANY"}, nil, []string{ownerKey, accessModeKey, throughputKey}},
		{"as usual", compute.Disk{AccessMode: "READ_WRITE_SINGLE"}, nil, []string{ownerKey}},
		{"the disk's too long", compute.Disk{Description: encodeTags(many)}, r.Tags, []string{ownerKey, "team", "velero.io/backup", "velero.io/pv"}},
		{"too long", compute.Disk{ProvisionedThroughput: 300}, crowded.Tags, []string{ownerKey, throughputKey, "velero.io/backup", "velero.io/pv"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			asked := r
			asked.Tags = test.tags
			text := describe(&test.disk, asked)
			tags := parseTags(text)
			slices.Sort(test.want)
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(tags))); diff != "" || len(text) > maxDescription {
				t.Errorf("%d bytes: %s", len(text), diff)
			}
			if tags[ownerKey] != testOwner.UID || tags["velero.io/backup"] != test.tags["velero.io/backup"] {
				t.Errorf("tags %v", tags)
			}
		})
	}
}

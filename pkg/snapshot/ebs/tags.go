package ebs

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// Our tags on snapshots. Volumes don't get them.
const (
	ownTags = "kubectl-velero.io/"
	// tagUID is the UID of the backup.
	tagUID = ownTags + "backup-uid"
	// tagRequest differs for each call of Create: what it has made is found by it
	// when the answer was lost.
	tagRequest = ownTags + "request"
	// tagDisk is what a restore needs to know of the disk, but neither the snapshot
	// nor Velero's record of it tells: see facts.
	tagDisk = ownTags + "disk"
	// tagBackup is Velero's own.
	tagBackup = "velero.io/backup"
)

// Limits of tags: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	awsTags     = "aws:" // those that AWS sets
)

// Tags of volumes that say to which cluster they belong.
const (
	clusterTags   = "kubernetes.io/cluster/"
	clusterTag    = "KubernetesCluster"
	clusterShared = "owned"
)

// tagSet is the tags of one resource, as many as fit.
type tagSet struct {
	tags []types.Tag
	seen map[string]bool
}

// add puts tags into the set, in the order of their keys, but none that is there or
// that AWS would refuse.
func (t *tagSet) add(tags map[string]string) {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		long := utf8.RuneCountInString(key) > maxTagKey || utf8.RuneCountInString(tags[key]) > maxTagValue
		if t.seen[key] || len(t.tags) == maxTags || long || key == "" || strings.HasPrefix(strings.ToLower(key), awsTags) {
			continue
		}
		t.seen[key] = true
		t.tags = append(t.tags, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
}

// of is what a request says of them.
func (t *tagSet) of(resource types.ResourceType) []types.TagSpecification {
	if len(t.tags) == 0 {
		return nil
	}
	return []types.TagSpecification{{ResourceType: resource, Tags: t.tags}}
}

// snapshotTags are those of a snapshot: ours first, then the caller's, then the
// volume's.
func snapshotTags(r snapshot.CreateRequest, v types.Volume, request string) *tagSet {
	own := map[string]string{tagRequest: request, tagDisk: factsOf(v).String()}
	if r.Owner.UID != "" {
		own[tagUID] = r.Owner.UID
	}
	t := &tagSet{}
	t.add(own)
	t.add(map[string]string{tagBackup: cmp.Or(r.Tags[tagBackup], r.Owner.Backup)})
	t.add(r.Tags)
	volume := tagMap(v.Tags)
	dropOwn(volume)
	t.add(volume)
	return t
}

// volumeTags are those of a volume that is made from a snapshot: the snapshot's.
// With a cluster's name, they say that it is that cluster's.
func volumeTags(snapshotTags []types.Tag, cluster string) *tagSet {
	tags := tagMap(snapshotTags)
	dropOwn(tags)
	t := &tagSet{}
	if cluster != "" {
		maps.DeleteFunc(tags, func(key, _ string) bool { return key == clusterTag || strings.HasPrefix(key, clusterTags) })
		t.add(map[string]string{clusterTags + cluster: clusterShared, clusterTag: cluster})
	}
	t.add(tags)
	return t
}

func dropOwn(tags map[string]string) {
	maps.DeleteFunc(tags, func(key, _ string) bool { return strings.HasPrefix(key, ownTags) })
}

func tagMap(tags []types.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// facts are what tagDisk holds. The zero value is what nothing is known of.
type facts struct {
	zone string
	// throughput is in MiB/s, 0 for none.
	throughput  int32
	multiAttach bool
}

func factsOf(v types.Volume) facts {
	f := facts{zone: aws.ToString(v.AvailabilityZone), multiAttach: aws.ToBool(v.MultiAttachEnabled)}
	if v.VolumeType == types.VolumeTypeGp3 {
		f.throughput = aws.ToInt32(v.Throughput)
	}
	return f
}

// String is such as "zone=eu-central-1a throughput=250".
func (f facts) String() string {
	parts := []string{"zone=" + f.zone}
	if f.throughput != 0 {
		parts = append(parts, "throughput="+strconv.Itoa(int(f.throughput)))
	}
	if f.multiAttach {
		parts = append(parts, "multi-attach=true")
	}
	return strings.Join(parts, " ")
}

// parseFacts reads what String wrote, as far as it understands it.
func parseFacts(text string) facts {
	var f facts
	for _, part := range strings.Fields(text) {
		switch name, value, _ := strings.Cut(part, "="); name {
		case "zone":
			f.zone = value
		case "throughput":
			if n, err := strconv.ParseInt(value, 10, 32); err == nil {
				f.throughput = int32(n)
			}
		case "multi-attach":
			f.multiAttach = value == "true"
		}
	}
	return f
}

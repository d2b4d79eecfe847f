package ec2test

import (
	"maps"
	"slices"
	"time"
)

// timeFormat is that of the API's answers.
const timeFormat = "2006-01-02T15:04:05.000Z"

// head is what each answer begins with.
type head struct {
	RequestID string `xml:"requestId"`
}

func (h *head) begin(requestID string) { h.RequestID = requestID }

// answer is what an action answers.
type answer interface {
	begin(requestID string)
}

type errorAnswer struct {
	Code      string `xml:"Errors>Error>Code"`
	Message   string `xml:"Errors>Error>Message"`
	RequestID string `xml:"RequestID"`
}

type tag struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagList(tags map[string]string) []tag {
	var l []tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		l = append(l, tag{key, tags[key]})
	}
	return l
}

type volumeItem struct {
	ID          string `xml:"volumeId"`
	GiB         int    `xml:"size"`
	SnapshotID  string `xml:"snapshotId"`
	Zone        string `xml:"availabilityZone"`
	State       string `xml:"status"`
	Created     string `xml:"createTime"`
	Type        string `xml:"volumeType"`
	IOPS        int    `xml:"iops,omitempty"`
	Throughput  int    `xml:"throughput,omitempty"`
	Encrypted   bool   `xml:"encrypted"`
	KMSKeyID    string `xml:"kmsKeyId,omitempty"`
	MultiAttach bool   `xml:"multiAttachEnabled"`
	Tags        []tag  `xml:"tagSet>item"`
}

func (d *diskRecord) item() volumeItem {
	return volumeItem{
		ID: d.ID, GiB: d.GiB, SnapshotID: d.SnapshotID, Zone: d.Zone, State: d.State, Created: d.created.UTC().Format(timeFormat), Type: d.Type,
		IOPS: d.IOPS, Throughput: d.Throughput, Encrypted: d.Encrypted, KMSKeyID: d.KMSKeyID, MultiAttach: d.MultiAttach, Tags: tagList(d.Tags),
	}
}

type snapshotItem struct {
	ID          string `xml:"snapshotId"`
	DiskID      string `xml:"volumeId"`
	State       string `xml:"status"`
	Message     string `xml:"statusMessage,omitempty"`
	Started     string `xml:"startTime"`
	Progress    string `xml:"progress"`
	OwnerID     string `xml:"ownerId"`
	GiB         int    `xml:"volumeSize"`
	Description string `xml:"description"`
	Encrypted   bool   `xml:"encrypted"`
	KMSKeyID    string `xml:"kmsKeyId,omitempty"`
	Tier        string `xml:"storageTier"`
	Tags        []tag  `xml:"tagSet>item"`
}

func (sn *snapshotRecord) item() snapshotItem {
	return snapshotItem{
		ID: sn.ID, DiskID: sn.DiskID, State: sn.State, Message: sn.Message, Started: sn.Started.UTC().Format(timeFormat), Progress: sn.Progress,
		OwnerID: Account, GiB: sn.GiB, Description: sn.Description, Encrypted: sn.Encrypted, KMSKeyID: sn.KMSKeyID, Tier: sn.Tier, Tags: tagList(sn.Tags),
	}
}

type (
	volumesAnswer struct {
		head
		Volumes   []volumeItem `xml:"volumeSet>item"`
		NextToken string       `xml:"nextToken,omitempty"`
	}
	snapshotsAnswer struct {
		head
		Snapshots []snapshotItem `xml:"snapshotSet>item"`
		NextToken string         `xml:"nextToken,omitempty"`
	}
	volumeAnswer struct {
		head
		volumeItem
	}
	snapshotAnswer struct {
		head
		snapshotItem
	}
	returnAnswer struct {
		head
		Return bool `xml:"return"`
	}
	zonesAnswer struct {
		head
		Zones []zoneItem `xml:"availabilityZoneInfo>item"`
	}
	zoneItem struct {
		Name   string `xml:"zoneName"`
		State  string `xml:"zoneState"`
		Region string `xml:"regionName"`
	}
)

func (s *Server) describeZones() *zonesAnswer {
	a := &zonesAnswer{}
	for _, zone := range s.zones {
		a.Zones = append(a.Zones, zoneItem{zone, "available", Region})
	}
	return a
}

// parseTime reads the time of a signature.
func parseTime(text string) (time.Time, error) { return time.Parse("20060102T150405Z", text) }

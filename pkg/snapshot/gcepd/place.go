package gcepd

import (
	"fmt"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
)

// zoneSeparator joins the zones of a regional disk, as volume.Zone does.
const zoneSeparator = "__"

// place is where a disk is: in a zone, or copied to several of a region.
type place struct {
	zone   string   // empty for a regional disk
	region string   // empty for a zonal disk
	zones  []string // of a regional disk
}

// parsePlace reads what volume.Zone says.
func parsePlace(zone string) (place, error) {
	if zone == "" {
		return place{}, fmt.Errorf("%w: the volume names none; hint: label it with topology.kubernetes.io/zone", snapshot.ErrNoZone)
	}
	zones := strings.Split(zone, zoneSeparator)
	if len(zones) == 1 {
		return place{zone: zone}, nil
	}
	p := place{region: regionOf(zones[0]), zones: zones}
	for _, z := range zones {
		if p.region == "" || regionOf(z) != p.region {
			return place{}, fmt.Errorf("%w: %q are not zones of one region", snapshot.ErrNoZone, zones)
		}
	}
	return p, nil
}

// regionOf is the region of a zone: its name without the last part.
func regionOf(zone string) string {
	i := strings.LastIndex(zone, "-")
	if i < 0 {
		return ""
	}
	return zone[:i]
}

func (p place) isRegional() bool { return p.region != "" }

// String names it for a person.
func (p place) String() string {
	if p.isRegional() {
		return fmt.Sprintf("region %q", p.region)
	}
	return fmt.Sprintf("zone %q", p.zone)
}

// path is the part of a resource's URL between project and kind.
func (p place) path() string {
	scope, name := p.scope()
	return scope + "/" + name
}

// scope says what kind of place it is, as URLs do, and its name.
func (p place) scope() (scope, name string) {
	if p.isRegional() {
		return "regions", p.region
	}
	return "zones", p.zone
}

// diskType is the partial URL of a kind of disk at this place. stored is what the
// disk in the backup had: the full URL, maybe of another project.
func (p place) diskType(project, stored string) string {
	if stored == "" {
		return "" // the API's default
	}
	return fmt.Sprintf("projects/%s/%s/diskTypes/%s", project, p.path(), lastPart(stored))
}

// replicaZones are the partial URLs of the zones of a regional disk.
func (p place) replicaZones(project string) []string {
	var urls []string
	for _, z := range p.zones {
		urls = append(urls, fmt.Sprintf("projects/%s/zones/%s", project, z))
	}
	return urls
}

// lastPart is the name at the end of a resource's URL.
func lastPart(url string) string {
	return url[strings.LastIndex(url, "/")+1:]
}

// Package archive reads and writes the tar.gz that holds the objects of a
// backup: its paths, their order and its bounds. It knows neither clusters nor
// stores. The layout is Velero's backup format 1.1.0.
package archive

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// FormatVersion is the version of the layout, as stored in the first entry of
// an archive and in a Backup's status.formatVersion.
const FormatVersion = "1.1.0"

// VersionPath is the name of the first entry, which holds FormatVersion and a
// newline.
const VersionPath = "metadata/version"

const (
	root            = "resources"
	clusterFolder   = "cluster"
	namespaceFolder = "namespaces"
	preferredSuffix = "-preferredversion"
	fileSuffix      = ".json"
)

// Item is one object of an archive.
type Item struct {
	Resource schema.GroupResource
	// Version is the version in which the object was collected. A Reader leaves
	// it empty for entries stored without version; the body's apiVersion tells.
	Version string
	// Preferred says that Version is the source cluster's preferred version of
	// the resource: such an object also stands at the path without version,
	// which is the one that a restore reads.
	Preferred bool
	// Namespace is empty for cluster-scoped objects.
	Namespace string
	Name      string
	// Body is the object as JSON.
	Body []byte
}

// resourceName is a plural name with an optional group.
var resourceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// ParsePath reads the name of an entry: where the object is that it holds. The
// Item has no body; Version is empty for the path without version. ok is false
// for a name that the layout doesn't have; an error means that it tries to be
// something that no archive may hold.
func ParsePath(name string) (item Item, ok bool, err error) {
	parts := strings.Split(name, "/")
	for _, part := range parts {
		if problems := content.IsPathSegmentName(part); part == "" || len(problems) > 0 || strings.ContainsAny(part, "\\\x00") {
			return Item{}, false, fmt.Errorf("path %q is not safe", name)
		}
	}
	if parts[0] != root || len(parts) < 4 {
		return Item{}, false, nil
	}
	if len(name) > 1024 || !resourceName.MatchString(parts[1]) {
		return Item{}, false, fmt.Errorf("path %q names no resource", name)
	}
	item.Resource = schema.ParseGroupResource(parts[1])
	rest := parts[2:]
	if rest[0] != clusterFolder && rest[0] != namespaceFolder {
		item.Version, item.Preferred = strings.CutSuffix(rest[0], preferredSuffix)
		rest = rest[1:]
	} else {
		item.Preferred = true
	}
	return parsePlace(item, name, rest)
}

// parsePlace reads "cluster/NAME.json" or "namespaces/NAMESPACE/NAME.json".
func parsePlace(item Item, name string, rest []string) (Item, bool, error) {
	switch {
	case len(rest) == 2 && rest[0] == clusterFolder:
	case len(rest) == 3 && rest[0] == namespaceFolder:
		item.Namespace = rest[1]
		if problems := validation.IsDNS1123Label(item.Namespace); len(problems) > 0 {
			return Item{}, false, fmt.Errorf("path %q names no namespace", name)
		}
	default:
		return Item{}, false, nil
	}
	objectName, isJSON := strings.CutSuffix(rest[len(rest)-1], fileSuffix)
	if !isJSON || objectName == "" {
		return Item{}, false, nil
	}
	item.Name = objectName
	return item, true, nil
}

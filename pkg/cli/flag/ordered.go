package flag

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// orderedHint shows the form of an OrderedResources.
const orderedHint = "hint: for example 'pods=shop/db-0,shop/db-1;persistentvolumes=pv-a'"

// OrderedResources says, for kinds of resources, which objects come first and
// in which order: KIND=NAME,NAME;KIND=NAME, where the name of a namespaced
// object is NAMESPACE/NAME. A repeated flag replaces the earlier value, as it
// does in Velero. The zero value orders nothing.
type OrderedResources struct {
	data map[string]string
}

// Data returns, for each kind, the names separated by commas; nil when the flag
// was not given.
func (o *OrderedResources) Data() map[string]string { return o.data }

// Set parses s.
func (o *OrderedResources) Set(s string) error {
	data := map[string]string{}
	for part := range strings.SplitSeq(s, ";") {
		kind, names, err := orderedKind(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		if _, twice := data[kind]; twice {
			return fmt.Errorf("%q is there twice; hint: put all its names behind one %q", kind, kind+"=")
		}
		data[kind] = strings.Join(names, ",")
	}
	o.data = data
	return nil
}

// orderedKind parses KIND=NAME,NAME.
func orderedKind(part string) (kind string, names []string, err error) {
	kind, list, ok := strings.Cut(part, "=")
	kind = strings.TrimSpace(kind)
	if !ok || kind == "" || strings.Contains(list, "=") {
		return "", nil, fmt.Errorf("%q is not of the form KIND=NAME,NAME; %s", part, orderedHint)
	}
	if problems := validation.IsDNS1123Subdomain(kind); len(problems) > 0 {
		return "", nil, fmt.Errorf("%q in %q is not the plural name of a kind, such as pods; %s", kind, part, orderedHint)
	}
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); !isOrderedName(name) {
			return "", nil, fmt.Errorf("%q in %q is neither NAMESPACE/NAME nor NAME; %s", name, part, orderedHint)
		}
		names = append(names, name)
	}
	return kind, names, nil
}

func isOrderedName(name string) bool {
	parts := strings.Split(name, "/")
	return len(parts) <= 2 && !slices.Contains(parts, "") && !strings.ContainsAny(name, " \t\n")
}

// String gives the kinds sorted.
func (o *OrderedResources) String() string {
	parts := make([]string, 0, len(o.data))
	for _, kind := range slices.Sorted(maps.Keys(o.data)) {
		parts = append(parts, kind+"="+o.data[kind])
	}
	return strings.Join(parts, ";")
}

// Type is the name that help shows.
func (o *OrderedResources) Type() string { return "string" }

package transform

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

// maxMentions is how many mentions of an object are told; more would say no
// more.
const maxMentions = 3

// lookedFor are the namespaces that are worth looking for: those from which
// objects move, but not those to which others move, since a text may have been
// followed there.
func (o *Options) lookedFor() []string {
	targets := map[string]bool{}
	for _, to := range o.NamespaceMapping {
		targets[to] = true
	}
	var namespaces []string
	for from := range o.NamespaceMapping {
		if !targets[from] {
			namespaces = append(namespaces, from)
		}
	}
	return namespaces
}

// mentions finds texts that name one of the namespaces, after all references
// were followed.
func (o *Options) mentions(obj *Object, namespaces []string) ([]string, error) {
	finder := mentionFinder{namespaces: namespaces}
	for _, key := range sortedKeys(obj.Annotations()) {
		if key != corev1.LastAppliedConfigAnnotation { // names the object's own namespace
			finder.text(obj.Annotation(key), key, fmt.Sprintf("metadata.annotations[%q]", key))
		}
	}
	for i := range obj.top {
		field := &obj.top[i]
		if field.value == nil && !o.mayName(field.raw) {
			continue
		}
		raw, err := field.json()
		if err != nil {
			return nil, err
		}
		value, err := decodeValue(raw)
		if err != nil {
			return nil, err
		}
		finder.value(value, field.name, field.name)
	}
	return finder.found, nil
}

// mentionFinder walks over the fields of an object.
type mentionFinder struct {
	namespaces []string
	found      []string // paths
}

// value looks at a value whose name in its map, or in that of the list that it
// is in, is name.
func (f *mentionFinder) value(value any, name, path string) {
	if len(f.found) == maxMentions {
		return
	}
	switch value := value.(type) {
	case string:
		f.text(value, name, path)
	case []any:
		for i, element := range value {
			f.value(element, name, fmt.Sprintf("%s[%d]", path, i))
		}
	case map[string]any:
		labels := slices.Contains(labelMaps, name)
		for _, key := range sortedKeys(value) {
			if !labels || key == corev1.LabelMetadataName {
				f.value(value[key], key, join(path, key))
			}
		}
	}
}

// labelMaps are maps of labels: their values are what people call their
// applications, which is often what they call their namespaces.
var labelMaps = []string{"labels", "matchLabels", "nodeSelector", "selector"}

func join(path, key string) string {
	if strings.ContainsAny(key, ".[]/ ") {
		return fmt.Sprintf("%s[%q]", path, key)
	}
	return path + "." + key
}

// text looks at the text of a member.
func (f *mentionFinder) text(text, member, path string) {
	if len(f.found) == maxMentions {
		return
	}
	named := slices.ContainsFunc(f.namespaces, func(namespace string) bool {
		return !isLocalName(member) && isNamespace(text, namespace) || hasNamespace(text, namespace)
	})
	if named {
		f.found = append(f.found, path)
	}
}

// isLocalName reports whether the text of a member is often that of a namespace
// without meaning one: the names of containers, of ports and of objects beside
// this one, and images.
func isLocalName(member string) bool {
	member = strings.ToLower(member)
	switch member {
	case "image", "kind":
		return true
	case corev1.LabelMetadataName:
		return false
	}
	return strings.HasSuffix(member, "name") && !strings.Contains(member, "namespace")
}

// isNamespace reports whether a text is a namespace, or a namespace and a name.
func isNamespace(text, namespace string) bool {
	rest, ok := strings.CutPrefix(text, namespace)
	return ok && (rest == "" || rest[0] == '/' && isName(rest[1:]))
}

// hasNamespace reports whether a namespace is named somewhere in a text: in the
// name of a service account or of a host, or as what a setting says.
func hasNamespace(text, namespace string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], namespace)
		if i < 0 {
			return false
		}
		before, after := text[:at+i], text[at+i+len(namespace):]
		if inAccount(before, after) || inHost(before, after) || inSetting(before, after) {
			return true
		}
		at += i + 1
	}
}

func inAccount(before, after string) bool {
	return strings.HasSuffix(before, accountsPrefix) && !startsName(after) ||
		strings.HasSuffix(before, accountPrefix) && strings.HasPrefix(after, ":")
}

// inHost is about "web.shop.svc" with what may follow, and "web.shop" alone.
func inHost(before, after string) bool {
	hosts, dot := strings.CutSuffix(before, ".")
	if !dot || hosts == "" || !isNameByte(hosts[len(hosts)-1]) {
		return false
	}
	if rest, ok := strings.CutPrefix(after, ".svc"); ok {
		return !startsName(rest)
	}
	above := strings.TrimRightFunc(hosts, func(r rune) bool { return r < utf8.RuneSelf && isNameByte(byte(r)) })
	return !strings.HasSuffix(above, ".") && !startsName(after) && !strings.HasPrefix(after, ".")
}

// inSetting is about "namespace: shop" and the like: "--namespace=shop",
// "request.namespace == 'shop'".
func inSetting(before, after string) bool {
	const longest = 40 // of a key and what may stand behind it, in bytes
	before = before[max(0, len(before)-longest):]
	key := strings.TrimRight(before, " \t\"'=:[")
	if len(key) == len(before) || startsName(after) {
		return false
	}
	key = strings.TrimSuffix(strings.ToLower(key), "s")
	return strings.HasSuffix(key, "namespace")
}

// startsName reports whether a name goes on in text.
func startsName(text string) bool { return text != "" && isNameByte(text[0]) }

func isName(text string) bool {
	for i := range len(text) {
		if !isNameByte(text[i]) && text[i] != '.' {
			return false
		}
	}
	return text != ""
}

func isNameByte(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-'
}

package flag

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// orSeparator stands between the selectors of an OrSelector.
const orSeparator = " or "

// OrSelector is label selectors of which one must match, separated by " or " or
// given by repeating the flag: an earlier one that no longer counted would back
// up less than was asked for. The zero value selects everything.
type OrSelector struct {
	// LabelSelectors is nil while the flag was not given.
	LabelSelectors []*metav1.LabelSelector
}

// Set parses s.
func (o *OrSelector) Set(s string) error {
	var all []*metav1.LabelSelector
	for part := range strings.SplitSeq(s, orSeparator) {
		part = strings.TrimSpace(part)
		if part == "" {
			return fmt.Errorf("a selector beside %q is missing; hint: for example 'app=web or app in (db, cache)'", strings.TrimSpace(orSeparator))
		}
		parsed, err := parseSelector(part)
		if err != nil {
			return fmt.Errorf("%q: %w; hint: for example 'app=web or app in (db, cache)'", part, err)
		}
		all = append(all, parsed)
	}
	o.LabelSelectors = append(o.LabelSelectors, all...)
	return nil
}

// String gives the selectors in their text form, empty when unset.
func (o *OrSelector) String() string {
	texts := make([]string, len(o.LabelSelectors))
	for i, s := range o.LabelSelectors {
		texts[i] = metav1.FormatLabelSelector(s)
	}
	return strings.Join(texts, orSeparator)
}

// Type is the name that help shows.
func (o *OrSelector) Type() string { return "orLabelSelector" }

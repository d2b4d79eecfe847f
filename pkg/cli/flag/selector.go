package flag

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Selector is a label selector, equality and set based, in Kubernetes'
// syntax. The zero value selects everything.
type Selector struct {
	// LabelSelector is nil while the flag was not given.
	LabelSelector *metav1.LabelSelector
}

// Set parses s.
func (l *Selector) Set(s string) error {
	parsed, err := parseSelector(s)
	if err != nil {
		return fmt.Errorf("%w; hint: for example app=web,tier!=cache or 'app in (web, db)'", err)
	}
	l.LabelSelector = parsed
	return nil
}

// parseSelector exists because metav1.ParseToLabelSelector refuses "!=".
func parseSelector(s string) (*metav1.LabelSelector, error) {
	requirements, err := labels.ParseToRequirements(s)
	if err != nil {
		return nil, err
	}
	selector := &metav1.LabelSelector{}
	for _, r := range requirements {
		values := r.Values().List()
		if r.Operator() == selection.Equals || r.Operator() == selection.DoubleEquals {
			selector = metav1.AddLabelToSelector(selector, r.Key(), values[0])
			continue
		}
		operator, ok := operators[r.Operator()]
		if !ok {
			return nil, fmt.Errorf("%q is not an operator of a label selector", r.Operator())
		}
		selector.MatchExpressions = append(selector.MatchExpressions,
			metav1.LabelSelectorRequirement{Key: r.Key(), Operator: operator, Values: values})
	}
	return selector, nil
}

var operators = map[selection.Operator]metav1.LabelSelectorOperator{
	selection.In:           metav1.LabelSelectorOpIn,
	selection.NotIn:        metav1.LabelSelectorOpNotIn,
	selection.NotEquals:    metav1.LabelSelectorOpNotIn,
	selection.Exists:       metav1.LabelSelectorOpExists,
	selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
}

// String gives the selector in its text form, empty when unset.
func (l *Selector) String() string {
	if l.LabelSelector == nil {
		return ""
	}
	return metav1.FormatLabelSelector(l.LabelSelector)
}

// Type is the name that help shows.
func (l *Selector) Type() string { return "labelSelector" }

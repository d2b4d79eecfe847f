// Package modifier changes objects on their way from a backup into a cluster,
// as people asked for in ConfigMaps: by resource modifiers, the rules in the
// ConfigMap that a Restore's resourceModifier names, and by the mappings of
// storage classes and image names in ConfigMaps that carry a label. It makes no
// requests, and leaves to others which objects are restored.
//
// The formats are Velero 1.18's: https://velero.io/docs/v1.18/restore-resource-modifiers/,
// https://velero.io/docs/v1.18/restore-reference/. Where Velero finds out with
// each object that a rule can't work, Parse refuses it with the line that is
// wrong, before anything is restored.
//
// Rules are an administrator's, objects are untrusted: whatever an object
// looks like, the worst that comes of it is an error.
package modifier

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubectl-velero/kubectl-velero/pkg/strictyaml"
)

// noun is what the texts are about.
const noun = "modifiers"

// ValidationError holds everything that is wrong with a text of modifiers.
type ValidationError = strictyaml.ValidationError

// Rules are the resource modifiers of one restore. Its methods are safe for
// concurrent use; nil stands for a restore without modifiers.
type Rules struct {
	rules    []rule
	warnings []string
}

type rule struct {
	place      string // in the text, for errors
	conditions conditions
	patch      patcher
}

// Subject is what the conditions of rules look at beside the object's JSON, all
// of it as it was backed up.
type Subject struct {
	Resource schema.GroupResource
	// Namespace is empty for a cluster-scoped object.
	Namespace, Name string
	Labels          map[string]string
}

// FromConfigMap reads the rules in the only key of a ConfigMap, whatever its
// name. An error is a *ValidationError; its problems name ConfigMap and key.
func FromConfigMap(cm *corev1.ConfigMap) (rules *Rules, err error) {
	err = strictyaml.FromConfigMap(cm, noun, func(text []byte) (problems []string) {
		rules, problems = parse(text)
		return problems
	})
	return rules, err
}

// Parse reads rules as YAML. An error is a *ValidationError.
func Parse(text []byte) (*Rules, error) {
	rules, problems := parse(text)
	return rules, strictyaml.Invalid(problems)
}

// Warnings returns a text for everything that is allowed but has no effect,
// like a kind in a group that doesn't have it.
func (r *Rules) Warnings() []string {
	if r == nil {
		return nil
	}
	return slices.Clone(r.warnings)
}

// Concerns reports whether there is a rule that may change the object: one
// whose conditions hold, those about its JSON left aside. It costs little.
func (r *Rules) Concerns(s Subject) bool {
	return r != nil && slices.ContainsFunc(r.rules, func(rule rule) bool { return rule.conditions.concern(s) })
}

// Apply returns body, the JSON of an object that is still in the namespace it
// was backed up in, as the rules want it; body itself when they change nothing.
// All conditions are about the object as it came in; the patches of the rules
// that hold are applied one after the other. A rule that can't be applied is an
// error and leaves the object as it was before that rule. Nothing can change
// what the object is: apiVersion, kind, namespace and name.
func (r *Rules) Apply(s Subject, body []byte) (out []byte, errs []error) {
	if !r.Concerns(s) {
		return body, nil
	}
	before, err := decode(body)
	if err != nil {
		return body, []error{fmt.Errorf("decode object: %w", err)}
	}
	holding, errs := r.holding(s, body)
	out, after := body, before
	for _, rule := range holding {
		changed, object, err := rule.apply(out, before)
		switch {
		case errors.Is(err, errTestFailed):
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", rule.place, err))
		default:
			out, after = changed, object
		}
	}
	if reflect.DeepEqual(before.fields, after.fields) {
		return body, errs
	}
	// The libraries leave new keys in any order; the same rules give the same text.
	if out, err = json.Marshal(after.fields); err != nil {
		return body, append(errs, fmt.Errorf("encode the changed object: %w", err))
	}
	return out, errs
}

// holding returns the rules all of whose conditions hold.
func (r *Rules) holding(s Subject, body []byte) (rules []rule, errs []error) {
	for _, rule := range r.rules {
		if !rule.conditions.concern(s) {
			continue
		}
		holds, err := rule.conditions.match(body)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", rule.place, err))
		}
		if holds {
			rules = append(rules, rule)
		}
	}
	return rules, errs
}

// apply returns the changed object, as JSON and decoded. before is the object
// that the first rule got.
func (r *rule) apply(body []byte, before object) ([]byte, object, error) {
	changed, err := r.patch.apply(body, before.groupVersionKind())
	if err != nil {
		return nil, object{}, err
	}
	after, err := decode(changed)
	if err != nil {
		return nil, object{}, err
	}
	return changed, after, before.same(after)
}

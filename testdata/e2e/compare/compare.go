// Package compare tells whether a namespace is what it was: it reads every
// object of the namespace and chosen objects around it, before and after, and
// compares them field by field, but for a written list of exceptions
// (exceptions.yaml), each with its reason. It changes nothing in a cluster.
package compare

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Key is an object's place in a State; the namespace is the State's.
type Key struct {
	// Resource is plural with the group, such as deployments.apps.
	Resource string
	Name     string
}

// String returns RESOURCE/NAME.
func (k Key) String() string { return k.Resource + "/" + k.Name }

func compareKeys(a, b Key) int {
	return cmp.Or(strings.Compare(a.Resource, b.Resource), strings.Compare(a.Name, b.Name))
}

// State is the objects of one namespace and around it at one time.
type State map[Key]*unstructured.Unstructured

// Difference is something that isn't as it was and isn't on the written list.
type Difference struct {
	Object Key
	// Field is the path of the value, empty where the object is missing or new.
	Field string
	// Before and After are printed values, "missing" where there was none.
	Before, After string
}

// String returns one line for a person.
func (d Difference) String() string {
	if d.Field == "" {
		return fmt.Sprintf("%s: was %s, is %s", d.Object, d.Before, d.After)
	}
	return fmt.Sprintf("%s: %s was %s, is %s", d.Object, d.Field, d.Before, d.After)
}

// Result is what a comparison found.
type Result struct {
	// Same counts the objects that were compared and found as they were.
	Same int
	// Differences are sorted by object and field.
	Differences []Difference
	// Excepted counts, for each reason of the list, the objects or fields that
	// it excused.
	Excepted map[string]int
}

// Options of Compare. The zero value is right for a restore into the cluster of
// the backup.
type Options struct {
	// OtherCluster switches on the exceptions for a restore into another cluster.
	OtherCluster bool
}

const missing = "missing"

// Compare compares two states with the exceptions.
func Compare(before, after State, exceptions Exceptions, options Options) Result {
	result := Result{Excepted: map[string]int{}}
	keys := slices.Collect(maps.Keys(before))
	for key := range after {
		if before[key] == nil {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	for _, key := range keys {
		result.object(key, before[key], after[key], exceptions, options)
	}
	return result
}

func (r *Result) object(key Key, before, after *unstructured.Unstructured, exceptions Exceptions, options Options) {
	for _, object := range []*unstructured.Unstructured{before, after} {
		if object == nil {
			continue
		}
		if reason := exceptions.object(key, object, options.OtherCluster); reason != "" {
			r.Excepted[reason]++
			return
		}
	}
	if before == nil || after == nil {
		r.Differences = append(r.Differences, Difference{Object: key, Before: presence(before), After: presence(after)})
		return
	}
	same := true
	for _, d := range differences(nil, before.Object, after.Object) {
		if reason := exceptions.field(key, d, before, after); reason != "" {
			r.Excepted[reason]++
			continue
		}
		same = false
		r.Differences = append(r.Differences, Difference{
			Object: key, Field: formatPath(d.path), Before: printed(d.before), After: printed(d.after),
		})
	}
	if same {
		r.Same++
	}
}

func presence(object *unstructured.Unstructured) string {
	if object == nil {
		return missing
	}
	return "there"
}

func printed(value any) string {
	if value == nil {
		return missing
	}
	return fmt.Sprintf("%#v", value)
}

// difference is one value that isn't the same; nil stands for a missing one.
type difference struct {
	path          []string
	before, after any
}

// differences walks both values as deep as both are maps or lists of the same
// length, so that an exception for a field doesn't excuse its neighbours.
func differences(path []string, before, after any) []difference {
	if reflect.DeepEqual(before, after) {
		return nil
	}
	beforeMap, afterMap, maps := pair[map[string]any](before, after)
	if maps {
		return mapDifferences(path, beforeMap, afterMap)
	}
	beforeList, afterList, lists := pair[[]any](before, after)
	if lists && len(beforeList) == len(afterList) {
		var found []difference
		for i := range beforeList {
			found = append(found, differences(step(path, indexStep(i)), beforeList[i], afterList[i])...)
		}
		return found
	}
	return []difference{{path: path, before: before, after: after}}
}

func mapDifferences(path []string, before, after map[string]any) []difference {
	keys := slices.Collect(maps.Keys(before))
	for key := range after {
		if _, ok := before[key]; !ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var found []difference
	for _, key := range keys {
		found = append(found, differences(step(path, key), before[key], after[key])...)
	}
	return found
}

// pair returns both values as T; a missing one counts as an empty T beside a
// present one, so that what is in it is told field by field.
func pair[T any](before, after any) (T, T, bool) {
	b, bok := before.(T)
	a, aok := after.(T)
	return b, a, (bok && (aok || after == nil)) || (aok && before == nil)
}

func step(path []string, next string) []string {
	return append(slices.Clip(path), next)
}

package modifier

import (
	"errors"
	"fmt"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
)

// patcher changes an object, which is given as JSON. It returns errTestFailed
// when the object isn't one that it is for. Error texts hold nothing of the
// object but names of fields, since objects hold secrets.
type patcher interface {
	apply(body []byte, kind schema.GroupVersionKind) ([]byte, error)
}

var (
	errTestFailed = errors.New("test failed")
	// errUnfit stands for a panic.
	errUnfit = errors.New("the patch does not fit the object, which may have null in a list")
)

// guard turns a panic of a library into errUnfit. Both libraries go through a
// nil pointer at some lists with null in them, which an object may well have,
// and one such object must not end a restore.
func guard(err *error) {
	if recover() != nil {
		*err = errUnfit
	}
}

// maxCopiedBytes bounds what the copy operations of a patch add to an object.
// It is the API server's bound.
const maxCopiedBytes = 3 << 20

// jsonPatch is RFC 6902: steps, each either of tests or of changes.
type jsonPatch []step

type step struct {
	patch jsonpatch.Patch
	tests bool
}

func (p jsonPatch) apply(body []byte, _ schema.GroupVersionKind) ([]byte, error) {
	for _, step := range p {
		changed, err := applyPatch(step.patch, body)
		switch {
		case err == nil:
			body = changed
		case step.tests && !errors.Is(err, errUnfit):
			// Also a test of what isn't there has failed, as documented.
			return nil, errTestFailed
		case errors.Is(err, jsonpatch.ErrMissing):
			return nil, fmt.Errorf("%w; hint: restrict the rule by matches to objects that have it, or use mergePatches, which add what is missing", err)
		default:
			return nil, err
		}
	}
	return body, nil
}

func applyPatch(patch jsonpatch.Patch, body []byte) (out []byte, err error) {
	defer guard(&err)
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = maxCopiedBytes
	return patch.ApplyWithOptions(body, options)
}

// mergePatch is RFC 7396: patches that are merged one after the other.
type mergePatch [][]byte

func (p mergePatch) apply(body []byte, _ schema.GroupVersionKind) (out []byte, err error) {
	defer guard(&err)
	for _, patch := range p {
		if body, err = jsonpatch.MergePatch(body, patch); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// strategicPatch are strategic merge patches, one after the other.
type strategicPatch [][]byte

func (p strategicPatch) apply(body []byte, kind schema.GroupVersionKind) (out []byte, err error) {
	defer guard(&err)
	lists, err := scheme.Scheme.New(kind) // its tags say how lists are merged
	if err != nil {
		return nil, fmt.Errorf("strategicPatches can't change %s %s, which is not built into Kubernetes; hint: use mergePatches or patches", kind.GroupVersion(), kind.Kind)
	}
	for _, patch := range p {
		if body, err = strategicpatch.StrategicMergePatch(body, patch, lists); err != nil {
			return nil, withoutContent(err)
		}
	}
	return body, nil
}

// plainErrors are those of strategic merge patches that are safe to show.
var plainErrors = []error{
	mergepatch.ErrBadJSONDoc, mergepatch.ErrNoListOfLists, mergepatch.ErrBadPatchFormatForPrimitiveList,
	mergepatch.ErrBadPatchFormatForRetainKeys, mergepatch.ErrBadPatchFormatForSetElementOrderList,
	mergepatch.ErrPatchContentNotMatchRetainKeys,
}

// withoutContent returns what an error of a strategic merge patch says without
// the part of the object that many of them quote.
func withoutContent(err error) error {
	for _, plain := range plainErrors {
		if errors.Is(err, plain) {
			return err
		}
	}
	const noKey, noField = "does not contain declared merge key: ", "unable to find api field "
	switch text := err.Error(); {
	case strings.Contains(text, noKey):
		return fmt.Errorf("an element of a list has no %s, by which the list is merged", text[strings.LastIndex(text, noKey)+len(noKey):])
	case strings.HasPrefix(text, noField):
		return err
	}
	return errUnfit
}

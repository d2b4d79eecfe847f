package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// UsedUpError means that a name can't be written under any more: what an earlier
// attempt left there is protected by a retention rule and can't be replaced.
// Another attempt would fail the same way.
type UsedUpError struct {
	// Name is that of the backup or restore.
	Name string
	// Cause is the store's refusal; it is store.ErrLocked.
	Cause error
}

// Error begins with "name used up" and asks for a new name.
func (e *UsedUpError) Error() string {
	return fmt.Sprintf("name used up: %v; hint: start it anew under another name than %q, since what is there can't be replaced", e.Cause, e.Name)
}

// Unwrap gives the store's refusal.
func (e *UsedUpError) Unwrap() error { return e.Cause }

// usedUp says what it means that key can't be written because it is locked;
// other errors stay as they are.
func usedUp(key string, err error) error {
	if !errors.Is(err, store.ErrLocked) {
		return err
	}
	_, below, _ := strings.Cut(key, "/")
	name, _, _ := strings.Cut(below, "/")
	return &UsedUpError{Name: name, Cause: err}
}

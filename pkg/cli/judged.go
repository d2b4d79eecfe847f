package cli

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubectl-velero/kubectl-velero/pkg/launch"
)

// settle judges a state and writes down an end that nobody wrote. Whoever may
// not write still sees the truth.
func (s *session) settle(ctx context.Context, state launch.State) (launch.Verdict, error) {
	v := launch.Judge(state)
	settled, err := s.observer.Settle(ctx, state, v)
	switch {
	case errors.Is(err, launch.ErrChanged) || apierrors.IsForbidden(err):
		return v, nil
	case err != nil:
		return v, s.explain(fmt.Sprintf("write down how %s %q ended", state.CR.Kind, state.CR.Name), err)
	case settled.Maintenance != "":
		v.Cause = fmt.Sprintf("%s; Job %q looks into the bucket whether it was complete", v.Reason, settled.Maintenance)
	}
	return v, nil
}

// tellTroubles says what holds up operations that haven't ended.
func (s *session) tellTroubles(n noun, verdicts []launch.Verdict, name func(int) string) {
	for i, v := range verdicts {
		if v.Cause != "" {
			s.warn("%s %q: %s", n.word, name(i), v.Cause)
		}
	}
}

// notFound explains why an object could not be read.
func (s *session) notFound(n noun, name string, err error) error {
	if apierrors.IsNotFound(err) && !notInstalled(err) {
		text := fmt.Sprintf("%s %q does not exist in namespace %q; hint: `%s %s get` lists those that do", n.word, name, s.namespace, s.name, n.word)
		if n == backupNoun {
			text += fmt.Sprintf(", and `%s backup-location sync --all` brings in those that only a bucket has", s.name)
		}
		return &missingError{what: fmt.Sprintf("%s %q", n.title, name), text: text}
	}
	return s.explain(fmt.Sprintf("read %s %q", n.word, name), err)
}

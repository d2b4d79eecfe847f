package reader

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// Verify has the Job verify a backup, and hands what it finds to tell, whose
// error ends it. An error means that the verification didn't come to its end.
func (r *Reader) Verify(ctx context.Context, backup string, tell func(verify.Event) error) (verify.Summary, error) {
	response, err := r.ask(ctx, call{method: http.MethodGet, path: "verify/" + backup})
	if err != nil {
		return verify.Summary{}, fmt.Errorf("verify backup %q: %w", backup, err)
	}
	defer response.Body.Close()
	var summary verify.Summary
	err = eachLine(response.Body, func(e verify.Event) (bool, error) {
		switch {
		case e.Error != "":
			return true, errors.New(e.Error)
		case e.Summary != nil:
			summary = *e.Summary
			return true, nil
		}
		return false, tell(e)
	})
	if torn := (*tornError)(nil); errors.As(err, &torn) {
		err = fmt.Errorf("verify backup %q: %w", backup, err)
	}
	return summary, err
}

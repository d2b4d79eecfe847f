package reader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// Verify has the Job verify a backup, and hands what it finds to tell, whose
// error ends it. An error means that the verification didn't come to its end.
func (r *Reader) Verify(ctx context.Context, backup string, tell func(verify.Event) error) (verify.Summary, error) {
	response, err := r.ask(ctx, http.MethodGet, "verify/"+backup, nil)
	if err != nil {
		return verify.Summary{}, fmt.Errorf("verify backup %q: %w", backup, err)
	}
	defer response.Body.Close()
	for lines := json.NewDecoder(response.Body); ; {
		var e verify.Event
		err := lines.Decode(&e)
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return verify.Summary{}, fmt.Errorf("verify backup %q: the answer broke off before its end: %w", backup, err)
		case e.Error != "":
			return verify.Summary{}, errors.New(e.Error)
		case e.Summary != nil:
			return *e.Summary, nil
		}
		if err := tell(e); err != nil {
			return verify.Summary{}, err
		}
	}
}

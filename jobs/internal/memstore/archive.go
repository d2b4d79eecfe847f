package memstore

import (
	"bytes"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// EmptyArchive is the archive of a backup without objects.
func EmptyArchive() string {
	var body bytes.Buffer
	if w, err := archive.NewWriter(&body, time.Unix(0, 0)); err == nil {
		_, _ = w.Close() // a buffer takes all
	}
	return body.String()
}

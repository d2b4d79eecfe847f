package read

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

const verifyPath = "/verify/"

// backupFolder is where pkg/catalog keeps the objects of a backup.
func backupFolder(backup string) string { return "backups/" + backup + "/" }

// verify verifies a backup and tells what it finds line by line, as it goes.
func (h *handler) verify(w http.ResponseWriter, r *http.Request, backup string) {
	prefix := backupFolder(backup)
	if strings.Contains(backup, "/") || !h.prefixes.hasPrefix(prefix) {
		h.refuse(w, r, http.StatusForbidden, fmt.Errorf("backup %q isn't served here", backup))
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if r.Method == http.MethodHead {
		return
	}
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w).Flush
	tell := func(e verify.Event) error {
		if err := lines.Encode(e); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if err := flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return fmt.Errorf("answer: %w", err)
		}
		return nil
	}
	summary, err := verify.Backup(r.Context(), folder{h.bucket, prefix}, backup, tell)
	last := verify.Event{Summary: &summary}
	if err != nil {
		last = verify.Event{Error: err.Error()}
	}
	if told := tell(last); told != nil || err != nil {
		h.log.Warn("verification broke off", "backup", backup, "error", errors.Join(err, told))
		return
	}
	h.log.Info("verified", "backup", backup, "sound", summary.Sound, "broken", summary.Broken, "objects", summary.Objects, "bytes", summary.Bytes)
}

// folder is one folder of a bucket, as a verification reads it.
type folder struct {
	bucket store.Bucket
	prefix string
}

func (f folder) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	var body io.ReadCloser
	var err error
	if offset == 0 && length < 0 {
		body, err = f.bucket.Get(ctx, f.prefix+name)
	} else {
		body, err = f.bucket.GetRange(ctx, f.prefix+name, offset, length)
	}
	if errors.Is(err, store.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return body, err
}

func (f folder) List(ctx context.Context) ([]string, error) {
	var names []string
	for info, err := range f.bucket.List(ctx, f.prefix) {
		if err != nil {
			return nil, err
		}
		names = append(names, strings.TrimPrefix(info.Key, f.prefix))
	}
	return names, nil
}

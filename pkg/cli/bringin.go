package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// missingError says that the cluster has no object of a name, though a bucket may.
type missingError struct{ what, text string }

func (e *missingError) Error() string { return e.text }

// bringIn looks into the storage locations for what err says is missing in the
// cluster, and then tries again. It says what it does: Jobs run for it. Any other
// error is returned as it is.
func (s *session) bringIn(ctx context.Context, err error, startTimeout time.Duration, again func() error) error {
	missing := (*missingError)(nil)
	if !errors.As(err, &missing) {
		return err
	}
	all, listErr := s.locations(ctx, nil, "")
	if listErr != nil {
		return listErr
	}
	locations := slices.DeleteFunc(all, neverSynced)
	if len(locations) == 0 {
		return err
	}
	fmt.Fprintf(s.ErrOut, "%s is not in the cluster; looking for it in %s ...\n", missing.what, enumerate(inQuotes(namesOf(locations))))
	results, syncErr := s.sync(ctx, syncFlags{startTimeout: startTimeout}, locations)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if syncErr != nil {
		return fmt.Errorf("%w; hint: it may be in a bucket, and nobody could look: %w", err, syncErr)
	}
	var unseen []string
	for _, r := range results {
		if r.err != nil {
			unseen = append(unseen, r.err.Error())
		}
	}
	if err = again(); errors.As(err, &missing) && len(unseen) > 0 {
		return fmt.Errorf("%w; hint: it may be where nobody could look: %s", err, strings.Join(unseen, "; "))
	}
	return err
}

// neverSynced reports whether the user wants no backups of others from there.
func neverSynced(l velerov1.BackupStorageLocation) bool {
	return l.Spec.BackupSyncPeriod != nil && l.Spec.BackupSyncPeriod.Duration == 0
}

package delete

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// expired says which Backup has outlived its time.
type expired struct {
	uid types.UID
	now time.Time
}

// Expire is Run for maintenance, in its own process, without force and for
// exactly the Backup with this UID, whose time must be up. The error is why it is
// still there, as it came: a *run.Refusal if it was refused, store.ErrLocked if it
// is locked, ErrDown if it was left to another time.
func Expire(ctx context.Context, cfg Config, uid types.UID) error {
	env := *cfg.Env
	env.Attempt, env.LastAttempt = 1, true // the next maintenance is another first attempt
	cfg.Env, cfg.Location, cfg.Force = &env, "", false
	o := newOperation(cfg)
	o.expired = &expired{uid: uid, now: time.Now()}
	err := o.run(ctx)
	_, endErr := o.end(ctx, err)
	return errors.Join(err, endErr)
}

// checkExpired refuses a backup that was found expired but meanwhile is another
// one, or was given more time.
func (o *operation) checkExpired() error {
	if o.expired == nil {
		return nil
	}
	until := o.backup.Status.Expiration
	if o.backup.UID != o.expired.uid || until == nil || until.After(o.expired.now) {
		return refuse(fmt.Sprintf("backup %q has changed", o.Backup), "it is looked at again")
	}
	return nil
}

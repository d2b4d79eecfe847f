package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/image"
)

// LoadImage puts the images of an archive into the cluster, under their own
// names and under those in also.
func (m Manager) LoadImage(ctx context.Context, name, file string, also []string) error {
	p := m.plan(name)
	var err error
	if p.record, err = m.present(name); err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	// On the node the working directory is another one.
	if file, err = filepath.Abs(file); err != nil {
		return fmt.Errorf("load image: %w", err)
	}
	names, err := image.Names(file)
	if err != nil {
		return err
	}
	if len(also) > 0 && len(names) != 1 {
		return fmt.Errorf("load image %s under other names: it holds %d images, not one", file, len(names))
	}
	if err := p.importImage(ctx, file); err != nil {
		return err
	}
	var errs []error
	for _, other := range also {
		full, err := image.FullName(other)
		if err == nil {
			err = p.ctr(ctx, "images", "tag", "--force", names[0], full)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

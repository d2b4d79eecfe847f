package backup

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func TestCopiedNote(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		disks, copied int64
		want          any
	}{
		"no disks":      {0, 0, nil},
		"just cut":      {3, 0, "0%"},
		"one and a bit": {3, 127, "42%"},
		"nearly":        {3, 299, "99%"},
		"all":           {3, 300, nil},
	} {
		o := &operation{}
		o.progress.disks.Store(c.disks)
		o.progress.copied.Store(c.copied)
		if diff := cmp.Diff(map[string]any{velerov1.DisksCopiedAnnotation: c.want}, o.copiedNote()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if noted := o.progress.noted.Load(); noted != (c.want != nil) {
			t.Errorf("%s: noted %v", name, noted)
		}
	}
}

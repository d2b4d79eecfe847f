package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/store"

	"github.com/kubectl-velero/kubectl-velero/jobs/run"
)

// folder is a bucket that can only be read: a folder of backups.
type folder struct {
	store.Bucket
	root string
}

func (f folder) Get(_ context.Context, key string) (io.ReadCloser, error) {
	file, err := os.Open(filepath.Join(f.root, strings.TrimPrefix(key, "backups/")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("get %s: %w", key, store.ErrNotExist)
	}
	return file, err
}

// fixtureOperation is a restore of the fixture up to the plan, without cluster.
func fixtureOperation(t *testing.T, spec velerov1.RestoreSpec) *operation {
	t.Helper()
	o := newOperation(Config{Env: &run.Env{Log: slog.New(slog.DiscardHandler)}, Workers: 4}, &velerov1.Restore{Spec: spec})
	o.served = modern(t)
	if problems := o.parse(); len(problems) > 0 && spec.BackupName != "" {
		t.Fatal(problems)
	}
	o.source = &source{catalog: catalog.New(folder{root: filepath.Dir(fixture)})}
	backup, err := o.source.catalog.ReadBackup(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	o.source.backup = backup
	if err := o.source.readSideFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.inspect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestInspectReadsWhatVeleroWrote(t *testing.T) {
	t.Parallel()
	o := fixtureOperation(t, velerov1.RestoreSpec{})
	if o.report.Warnings()+o.report.Errors() != 0 {
		t.Errorf("report: %+v", o.report.Results())
	}
	if got, ok := o.source.saved.data["shop-data"]; ok {
		t.Errorf("volume shop-data was backed up by %+v, want nothing: it was skipped", got)
	}
	if got := countListed(o.source.listed); got != 80 {
		t.Errorf("resource list has %d objects, want 80", got)
	}
}

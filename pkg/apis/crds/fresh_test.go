package crds_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGeneratedIsFresh generates deep copies and CustomResourceDefinitions anew and
// compares them with the committed ones. It fails, and is never skipped, when the
// generator can't be built.
func TestGeneratedIsFresh(t *testing.T) {
	t.Parallel()
	// Reading the inputs here lets the test cache see that they changed; what a
	// child process reads it doesn't see.
	readTree(t, "../velero", ".go")
	readTree(t, "../../../testdata/tools", "")
	for _, gen := range []struct {
		name, committed, suffix string
		args                    []string
	}{
		{"CustomResourceDefinitions", ".", ".yaml", []string{"crd", "paths=../velero/...", "output:crd:dir="}},
		{"deep copies of v1", "../velero/v1", "zz_generated.deepcopy.go", []string{"object", "paths=../velero/v1", "output:object:dir="}},
		{"deep copies of v2alpha1", "../velero/v2alpha1", "zz_generated.deepcopy.go", []string{"object", "paths=../velero/v2alpha1", "output:object:dir="}},
	} {
		t.Run(gen.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := append([]string{"tool", "-modfile=../../../testdata/tools/go.mod", "controller-gen"}, gen.args...)
			args[len(args)-1] += dir
			if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
				t.Fatalf("run controller-gen: %v\n%s", err, out)
			}
			if diff := cmp.Diff(readTree(t, dir, gen.suffix), readTree(t, gen.committed, gen.suffix)); diff != "" {
				t.Errorf("committed files are not what the types generate; run make generate (-generated +committed):\n%s", diff)
			}
		})
	}
}

// readTree returns the content of the files below dir whose names end so, by path.
func readTree(t *testing.T, dir, suffix string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files[rel] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// externalDiff is kubectl's variable for a program that shows differences.
const externalDiff = "KUBECTL_EXTERNAL_DIFF"

// diffSink takes objects that differ, in any order, and shows them in a good one.
// It keeps them on disk: there may be many.
type diffSink interface {
	// add takes the YAML of an object as it is, empty if it isn't there, and as it
	// would be.
	add(key objectKey, texts [2][]byte) error
	// show shows all.
	show(ctx context.Context, out, errOut io.Writer) error
	// close removes what is on disk.
	close() error
}

// newDiffSink shows unified differences, or leaves it to a program.
func newDiffSink(program string) (diffSink, error) {
	folder, err := os.MkdirTemp("", "kubectl-velero-diff-")
	if err != nil {
		return nil, fmt.Errorf("keep differences: %w", err)
	}
	if words := strings.Fields(program); len(words) > 0 {
		return newDiffFolders(folder, words[0], words[1:])
	}
	file, err := os.OpenFile(filepath.Join(folder, "diff"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keep differences: %w", err), os.RemoveAll(folder))
	}
	return &diffFile{folder: folder, file: file}, nil
}

// diffFile is unified differences, one after the other in one file.
type diffFile struct {
	folder string
	file   *os.File
	size   int64
	parts  []diffPart
}

// diffPart is where in the file the difference of an object is.
type diffPart struct {
	objectKey
	offset, length int64
}

func (d *diffFile) add(key objectKey, texts [2][]byte) error {
	text := diff.Diff("live "+key.String(), texts[0], "restored "+key.String(), texts[1])
	n, err := d.file.Write(text)
	if err != nil {
		return fmt.Errorf("keep differences: %w", err)
	}
	d.parts = append(d.parts, diffPart{key, d.size, int64(n)})
	d.size += int64(n)
	return nil
}

func (d *diffFile) show(_ context.Context, out, _ io.Writer) error {
	slices.SortFunc(d.parts, func(a, b diffPart) int { return byNamespace(a.objectKey, b.objectKey) })
	for _, part := range d.parts {
		if _, err := io.Copy(out, io.NewSectionReader(d.file, part.offset, part.length)); err != nil {
			return fmt.Errorf("show %s: %w", part, err)
		}
	}
	return nil
}

func (d *diffFile) close() error { return errors.Join(d.file.Close(), os.RemoveAll(d.folder)) }

// byNamespace keeps what belongs together near each other.
func byNamespace(a, b objectKey) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), a.compare(b))
}

// diffFolders is two folders for a program that shows how they differ.
type diffFolders struct {
	folder, live, restored string
	command                []string
	any                    bool
}

// plainArgument is what kubectl lets through as an argument of the program.
var plainArgument = regexp.MustCompile(`^[a-zA-Z0-9-=]+$`)

func newDiffFolders(folder, program string, arguments []string) (*diffFolders, error) {
	arguments = slices.DeleteFunc(arguments, func(word string) bool { return !plainArgument.MatchString(word) })
	d := &diffFolders{
		folder: folder, live: filepath.Join(folder, "LIVE"), restored: filepath.Join(folder, "RESTORED"),
		command: append([]string{program}, arguments...),
	}
	if err := errors.Join(os.Mkdir(d.live, 0o700), os.Mkdir(d.restored, 0o700)); err != nil {
		return nil, errors.Join(fmt.Errorf("keep differences: %w", err), os.RemoveAll(folder))
	}
	return d, nil
}

// fileName makes of a key what every file system takes for a name.
var fileName = strings.NewReplacer("/", ".", `\`, "-", ":", "-")

func (d *diffFolders) add(key objectKey, texts [2][]byte) error {
	d.any = true
	name := fileName.Replace(key.String())
	for i, folder := range []string{d.live, d.restored} {
		if texts[i] == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, name), texts[i], 0o600); err != nil {
			return fmt.Errorf("keep differences: %w", err)
		}
	}
	return nil
}

func (d *diffFolders) show(ctx context.Context, out, errOut io.Writer) error {
	if !d.any {
		return nil
	}
	program := exec.CommandContext(ctx, d.command[0], append(d.command[1:], d.live, d.restored)...)
	program.Stdout, program.Stderr = out, errOut
	err := program.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == exitDiffers {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run $%s: %w", externalDiff, err)
	}
	return nil
}

func (d *diffFolders) close() error { return os.RemoveAll(d.folder) }

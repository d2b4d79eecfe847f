package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
)

// partial is a file that is not complete yet. Beside it, in a file of its own,
// stands which content it is the beginning of.
type partial struct {
	name string
	file *os.File
	info reader.Info
	size int64 // bytes that are there
}

const (
	partialEnding = ".partial"
	noteEnding    = ".partial.json"
)

// openPartial opens what an earlier attempt left of the same content, or begins.
func openPartial(path string, info reader.Info) (*partial, error) {
	p := &partial{name: path + partialEnding, info: info}
	file, err := os.OpenFile(p.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	p.file = file
	if p.size, err = p.reusable(path); err == nil {
		err = file.Truncate(p.size)
	}
	if err == nil {
		_, err = file.Seek(p.size, io.SeekStart)
	}
	if err == nil {
		err = p.note(path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write the archive: %w", err), file.Close())
	}
	return p, nil
}

// reusable is how many bytes of the file belong to the content.
func (p *partial) reusable(path string) (int64, error) {
	stat, err := p.file.Stat()
	if err != nil {
		return 0, err
	}
	if !stat.Mode().IsRegular() {
		return 0, fmt.Errorf("%q is no file", p.name)
	}
	var noted reader.Info
	body, err := os.ReadFile(path + noteEnding)
	if err != nil || json.Unmarshal(body, &noted) != nil || noted != p.info || noted.ETag == "" || stat.Size() > noted.Size {
		return 0, nil
	}
	return stat.Size(), nil
}

func (p *partial) note(path string) error {
	body, err := json.Marshal(p.info)
	if err != nil {
		return err
	}
	return os.WriteFile(path+noteEnding, body, 0o600)
}

// Write appends.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	p.size += int64(n)
	if err != nil {
		err = fmt.Errorf("%w: %w", errDisk, err)
	}
	return n, err
}

// Close makes what came lasting.
func (p *partial) Close() error {
	if err := errors.Join(p.file.Sync(), p.file.Close()); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return nil
}

func (p *partial) remove() error { return errors.Join(os.Remove(p.name), os.Remove(p.noteName())) }

func (p *partial) noteName() string {
	return p.name[:len(p.name)-len(partialEnding)] + noteEnding
}

// finish gives the complete file its name. One that stands there is replaced
// only with force.
func (p *partial) finish(path string, force bool) error {
	if !force {
		// A link never replaces a file; a rename would. Where the file system has
		// no links, looking first must do.
		err := os.Link(p.name, path)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("file %q exists by now; hint: what was downloaded is in %s", path, p.name)
		}
		if err == nil {
			return p.remove()
		}
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("file %q exists by now; hint: what was downloaded is in %s", path, p.name)
		}
	}
	if err := os.Rename(p.name, path); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return os.Remove(p.noteName())
}

// checksums is what <backup>-checksums.json holds. It is spelled out here
// because the package that defines it links cloud SDKs.
type checksums struct {
	Objects map[string]struct {
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	} `json:"objects"`
}

// compare checks the complete file against the checksums of the backup; backups
// of Velero have none.
func (d *download) compare(ctx context.Context, p *partial) error {
	object, err := d.bucket.GetPart(ctx, backupKey(d.backup, checksumsSuffix), reader.Part{})
	if errors.Is(err, reader.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.left(p, err)
	}
	defer object.Close()
	var sums checksums
	if err := json.NewDecoder(io.LimitReader(object, maxDetails)).Decode(&sums); err != nil {
		return d.left(p, fmt.Errorf("decode the checksums: %w", err))
	}
	want, ok := sums.Objects[d.backup+archiveSuffix]
	if !ok {
		return nil
	}
	d.moved()
	got, err := sumOf(p.name)
	if err != nil {
		return err
	}
	if got == want.SHA256 && p.size == want.Size {
		return nil
	}
	return errors.Join(fmt.Errorf("download %q: what came isn't what was backed up: %d bytes with SHA-256 %s instead of %d with %s; hint: `backup verify %s` looks at the backup in the bucket",
		d.backup, p.size, got, want.Size, want.SHA256, d.backup), p.remove())
}

func sumOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("check the archive: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("check the archive: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

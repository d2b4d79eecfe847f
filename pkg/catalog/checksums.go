package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
)

// Checksums is the content of <backup>-checksums.json, which stands beside
// Velero's objects: what every object of the backup was when it was written, but
// the commit marker and this one.
type Checksums struct {
	// Objects are by their name below the backup's folder.
	Objects map[string]Sum `json:"objects"`
}

// Sum is what an object was when it was written.
type Sum struct {
	// Size is in bytes.
	Size int64 `json:"size"`
	// SHA256 is in hex.
	SHA256 string `json:"sha256"`
}

// PutChecksums stores the checksums of all that this Catalog wrote for the
// backup, and of the claim, and returns the SHA-256 of the object that holds
// them, for the marker. It comes after everything else but the marker.
func (c *Catalog) PutChecksums(ctx context.Context, backup string) (string, error) {
	if err := checkName("backup", backup); err != nil {
		return "", err
	}
	sums := Checksums{Objects: c.ledger.below(backupFolder(backup))}
	if err := c.addClaim(ctx, backup, sums); err != nil {
		return "", err
	}
	body, err := json.MarshalIndent(sums, "", "  ")
	if err != nil {
		return "", fmt.Errorf("encode the checksums of backup %q: %w", backup, err)
	}
	if err := c.bucket.Put(ctx, checksumsKey(backup), bytes.NewReader(body)); err != nil {
		return "", fmt.Errorf("store the checksums of backup %q: %w", backup, usedUp(checksumsKey(backup), err))
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

// addClaim reads the claim, which an earlier attempt may have written.
func (c *Catalog) addClaim(ctx context.Context, backup string, sums Checksums) error {
	claim, err := c.readAll(ctx, claimKey(backup))
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the claim of backup %q: %w", backup, err)
	}
	r := newSummingReader(bytes.NewReader(claim))
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("read the claim of backup %q: %w", backup, err)
	}
	sums.Objects[strings.TrimPrefix(claimKey(backup), backupFolder(backup))] = r.sum()
	return nil
}

// ledger remembers the checksums of what was stored; what is stored again
// counts as it was last.
type ledger struct {
	mu   sync.Mutex
	sums map[string]Sum
}

func (l *ledger) note(key string, sum Sum) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sums == nil {
		l.sums = map[string]Sum{}
	}
	l.sums[key] = sum
}

func (l *ledger) below(folder string) map[string]Sum {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]Sum{}
	for key, sum := range l.sums {
		if name, ok := strings.CutPrefix(key, folder); ok {
			found[name] = sum
		}
	}
	return found
}

// summingReader sums what passes through it. It isn't a Seeker: a store that
// could rewind it would have bytes summed twice.
type summingReader struct {
	source io.Reader
	size   int64
	hash   hash.Hash
}

func newSummingReader(r io.Reader) *summingReader {
	return &summingReader{source: r, hash: sha256.New()}
}

func (s *summingReader) Read(p []byte) (int, error) {
	n, err := s.source.Read(p)
	s.size += int64(n)
	s.hash.Write(p[:n])
	return n, err
}

// CloseWithError lets the writing side of a pipe go.
func (s *summingReader) CloseWithError(err error) error {
	if pipe, ok := s.source.(*io.PipeReader); ok {
		return pipe.CloseWithError(err)
	}
	return nil
}

func (s *summingReader) sum() Sum {
	return Sum{Size: s.size, SHA256: hex.EncodeToString(s.hash.Sum(nil))}
}

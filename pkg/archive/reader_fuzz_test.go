package archive_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
)

// addArchives makes the corpus of a fuzz target: what Velero wrote, what we
// write, and hostile entries.
func addArchives(f *testing.F, add func(archive []byte)) {
	f.Helper()
	for _, name := range []string{"shop", "shop-selected"} {
		add(fixture(f, name))
	}
	add(pack(f))
	add(pack(f, file("metadata/version", "1.1.0\n"),
		file("resources/pods/namespaces/a/b.json", "{}"), file("resources/pods/v1-preferredversion/namespaces/a/b.json", "{}"),
		file("resources/secrets/namespaces/shop/../../x.json", "{}"), file("notes/readme", "hi")))
}

func FuzzReader(f *testing.F) {
	addArchives(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) { readSome(t, data) })
}

// FuzzReaderOfTar gets past gzip: the bytes are a tar's.
func FuzzReaderOfTar(f *testing.F) {
	addArchives(f, func(data []byte) {
		gz, err := stdgzip.NewReader(bytes.NewReader(data))
		if err != nil {
			f.Fatal(err)
		}
		plain, err := io.ReadAll(gz)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain[:min(len(plain), 64<<10)]) // the engine mutates small inputs best
	})
	f.Fuzz(func(t *testing.T, plain []byte) { readSome(t, zip(t, plain)) })
}

// readSome reads what there is: it ends, and every item is safe.
func readSome(t *testing.T, data []byte) {
	t.Helper()
	r, err := archive.NewReader(bytes.NewReader(data))
	if err != nil {
		return
	}
	for range 1000 {
		got, err := r.NextVersioned()
		var refused *archive.ItemError
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return
		}
		checkSafe(t, got)
	}
}

package verify_test

import (
	"bytes"
	"context"
	"maps"
	"testing"

	"github.com/kubectl-velero/kubectl-velero/pkg/verify"
)

// FuzzArchive: whatever an archive holds, the verifier ends without a panic, and
// never calls something sound that it could not read.
func FuzzArchive(f *testing.F) {
	f.Add(write(f, objects()[:5])["b.tar.gz"])
	f.Add(pack(f, version, file(webPath, web), file(webTwin, web)))
	f.Add(pack(f, version, file("resources/../x", "")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		summary, err := verify.Archive(context.Background(), bytes.NewReader(data), "x", func(verify.Event) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if summary.Sound != (summary.Broken == 0) || len(data) == 0 && summary.Sound {
			t.Errorf("%+v", summary)
		}
	})
}

// FuzzPlain mutates the tar instead of its compressed form, which a checksum
// protects.
func FuzzPlain(f *testing.F) {
	f.Add(unzip(f, pack(f, version, file(webPath, web), file(webTwin, web))))
	f.Fuzz(func(t *testing.T, plain []byte) {
		if _, err := verify.Archive(context.Background(), bytes.NewReader(zip(t, plain)), "x", func(verify.Event) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzSideFiles puts anything into the side files.
func FuzzSideFiles(f *testing.F) {
	whole := write(f, objects()[:5])
	for name, body := range whole {
		if name != "b.tar.gz" {
			f.Add(name, body)
		}
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if _, ok := whole[name]; !ok {
			return
		}
		changed := maps.Clone(whole)
		changed[name] = body
		summary, _ := run(t, changed, "b")
		if summary.Sound && name != "velero-backup.json" && !bytes.Equal(body, whole[name]) {
			t.Errorf("%s is another, and it is sound", name)
		}
	})
}

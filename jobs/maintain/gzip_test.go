package maintain_test

import (
	"bytes"

	"github.com/klauspost/compress/gzip"
)

// gzipped is a side file's content.
func gzipped(text string) string {
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return buffer.String()
}

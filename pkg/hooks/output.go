package hooks

import (
	"fmt"
	"strings"
	"sync"
	"unicode"
)

// maxOutput is how many bytes of each output of a hook are kept.
const maxOutput = 8 << 10

// maxCause is how many bytes of a text from elsewhere an error takes over.
const maxCause = 512

// tail keeps the end of what is written to it, where programs say why they
// failed. It is safe for concurrent use; the zero value is empty.
type tail struct {
	mu  sync.Mutex
	end []byte
	cut int // bytes dropped
}

// Write takes all of p and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	if n > maxOutput {
		t.cut += n - maxOutput
		p = p[n-maxOutput:]
	}
	t.end = append(t.end, p...)
	if over := len(t.end) - maxOutput; over > 0 {
		t.cut += over
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return n, nil
}

// String is what was kept, with a mark where something was dropped.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimRight(strings.ToValidUTF8(string(t.end), "�"), "\r\n")
	if t.cut > 0 {
		return fmt.Sprintf("[%d bytes cut]…%s", t.cut, text)
	}
	return text
}

// lastLines is the end of a text in one line and at most maxCause bytes, of
// whole lines if there are any. Control characters are dropped: the text is
// printed on terminals.
func lastLines(text string) string {
	var lines []string
	size := 0
	all := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(all) - 1; i >= 0; i-- {
		line := printable(all[i])
		if line == "" {
			continue
		}
		if size += len(line) + len("; "); size > maxCause+len("; ") {
			break
		}
		lines = append([]string{line}, lines...)
	}
	if len(lines) == 0 {
		return end(printable(text))
	}
	return strings.Join(lines, "; ")
}

func printable(line string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, line))
}

// end is the end of a text that is too long.
func end(text string) string {
	const mark = "…"
	if len(text) <= maxCause {
		return text
	}
	return mark + strings.ToValidUTF8(text[len(text)-maxCause+len(mark):], "")
}

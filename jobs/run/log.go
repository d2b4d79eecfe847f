package run

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"k8s.io/klog/v2"
)

// logFile passes the log on and keeps it gzipped in memory for the bucket. It is
// safe for concurrent use.
type logFile struct {
	mu   sync.Mutex
	next io.Writer
	kept bytes.Buffer
	gz   *gzip.Writer
}

func newLog(next io.Writer) *logFile {
	l := &logFile{next: next}
	l.gz = gzip.NewWriter(&l.kept)
	return l
}

// Write takes one line. A line that can't be kept is an error of the log, not of
// the operation, so slog drops it.
func (l *logFile) Write(line []byte) (int, error) {
	quoted := quoteTime(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.gz.Write(quoted); err != nil {
		return 0, err
	}
	if _, err := l.next.Write(quoted); err != nil {
		return 0, err
	}
	return len(line), nil
}

// quoteTime puts the time into quotes, as it stands in Velero's logs; slog
// quotes only where it has to.
func quoteTime(line []byte) []byte {
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	value, isTime := bytes.CutPrefix(stamp, []byte(slog.TimeKey+"="))
	if !ok || !isTime {
		return line
	}
	return fmt.Appendf(make([]byte, 0, len(line)+2), "%s=%q %s", slog.TimeKey, value, rest)
}

// gzipped returns the lines so far. Later lines go into a gzip member of their
// own, so that each call returns a complete stream.
func (l *logFile) gzipped() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.gz.Close(); err != nil {
		return nil, fmt.Errorf("compress the log: %w", err)
	}
	l.gz.Reset(&l.kept)
	return bytes.Clone(l.kept.Bytes()), nil
}

// levelNames are those that people look for in Velero's logs.
var levelNames = map[slog.Level]string{
	slog.LevelDebug: "debug", slog.LevelInfo: "info", slog.LevelWarn: "warning", slog.LevelError: "error",
}

// handler writes lines in the form of Velero's logs: time, level and msg first.
func (l *logFile) handler(level slog.Level) slog.Handler {
	return slog.NewTextHandler(l, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) > 0 {
				return attr
			}
			switch attr.Key {
			case slog.TimeKey:
				return slog.String(slog.TimeKey, attr.Value.Time().UTC().Format(time.RFC3339))
			case slog.LevelKey:
				if level, ok := attr.Value.Any().(slog.Level); ok && levelNames[level] != "" {
					return slog.String(slog.LevelKey, levelNames[level])
				}
			}
			return attr
		},
	})
}

// redirectKlog lets client-go write into the same log.
func redirectKlog(log *slog.Logger) { klog.SetSlogLogger(log) }

// Command writer is what the pods of the volume tests run: it appends numbered
// records of one length to a file of each of its volumes, all of them on disk
// before it says so, and stops when it is told to, as a database would be quiesced.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: writer run CONTROL VOLUME ...  write records until told to stop
  | stop VOLUME     tell the one that writes there first to stop, and wait for it
  | note FILE       write the time into a file
  | cat FILE`

// interval is between two records.
const interval = 5 * time.Millisecond

// Files of a volume. Those of stopping are on the first one, so that a copy of it
// is stopped too.
const (
	recordsFile = "records"
	treeFolder  = "tree"
	stopFile    = "stop"
	stoppedFile = "stopped"
	syncedFile  = "synced" // in the control folder: the last record on all volumes
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run carries out one command.
func run(ctx context.Context, args []string, out io.Writer) error {
	command := ""
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch {
	case command == "run" && len(args) >= 2:
		return write(ctx, args[0], args[1:])
	case command == "stop" && len(args) == 1:
		return tellToStop(ctx, args[0])
	case command == "note" && len(args) == 1:
		return os.WriteFile(args[0], []byte(time.Now().Format(time.RFC3339Nano)+"\n"), 0o644)
	case command == "cat" && len(args) == 1:
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	}
	return fmt.Errorf("unknown command %q\n%s", command, usage)
}

func tellToStop(ctx context.Context, volume string) error {
	if err := os.WriteFile(filepath.Join(volume, stopFile), nil, 0o644); err != nil {
		return err
	}
	for !exists(filepath.Join(volume, stoppedFile)) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(interval):
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// write continues where the volumes end, until ctx ends. It touches nothing on
// volumes that are stopped.
func write(ctx context.Context, control string, volumes []string) error {
	var files []*log
	defer func() {
		for _, f := range files {
			_ = f.Close() // each record was synced
		}
	}()
	if !exists(filepath.Join(volumes[0], stoppedFile)) {
		for _, volume := range volumes {
			f, err := open(volume)
			if err != nil {
				return err
			}
			files = append(files, f)
		}
	}
	next := first(files)
	for ctx.Err() == nil {
		stopped, err := stop(volumes[0])
		if err == nil && !stopped {
			if err = writeRecord(files, next); err == nil {
				err = publish(control, next)
			}
			next++
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
	return nil
}

// stop says whether to stop, and tells that it has, once.
func stop(volume string) (bool, error) {
	if !exists(filepath.Join(volume, stopFile)) {
		return false, nil
	}
	f, err := os.OpenFile(filepath.Join(volume, stoppedFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	return true, f.Close()
}

// writeRecord appends a record to each file that doesn't have it yet.
func writeRecord(files []*log, n int) error {
	for _, f := range files {
		if n <= f.last {
			continue
		}
		if _, err := f.WriteString(record(n)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		f.last = n
	}
	return nil
}

// publish says that a record is on all volumes.
func publish(control string, n int) error {
	file := filepath.Join(control, syncedFile)
	if err := os.WriteFile(file+".new", fmt.Appendln(nil, n), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// log is a file of records.
type log struct {
	*os.File
	last int // number of its last record
}

// first is the number of the first record that not all files have.
func first(files []*log) int {
	if len(files) == 0 {
		return 1
	}
	last := files[0].last
	for _, f := range files {
		last = min(last, f.last)
	}
	return last + 1
}

// recordSize is the length of each record.
const recordSize = 64

// record is the n-th record, counted from 1.
func record(n int) string {
	text := fmt.Sprintf("record %d ", n)
	return text + strings.Repeat(".", recordSize-len(text)-1) + "\n"
}

// open opens a volume's records behind the last whole one. A new volume gets some
// other files first.
func open(volume string) (*log, error) {
	if !exists(filepath.Join(volume, treeFolder)) {
		if err := plant(filepath.Join(volume, treeFolder)); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(volume, recordsFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	l := &log{File: f, last: len(body) / recordSize}
	for n := 1; n <= l.last; n++ {
		if got := string(body[(n-1)*recordSize : n*recordSize]); got != record(n) {
			return nil, fmt.Errorf("%s: record %d is %q", f.Name(), n, got)
		}
	}
	end := int64(l.last * recordSize)
	if err := f.Truncate(end); err != nil {
		return nil, err
	}
	_, err = f.Seek(end, io.SeekStart)
	return l, err
}
